"""Post one click and print the visitor's list: python examples/ask.py USER ITEM.

This file decides how a program calls the API: ids in paths are percent-encoded, and every error status raises.
"""

import os
import sys
from urllib.parse import quote

import httpx

user, item = sys.argv[1:]
key = os.environ.get("API_KEY")
headers = {"Authorization": f"Bearer {key}"} if key else {}
with httpx.Client(base_url=os.environ.get("API_ADDRESS", "http://localhost:8080"), headers=headers) as corrente:
    corrente.post("/v1/events/clicks", json={"user": user, "item": item}).raise_for_status()
    answer = corrente.get(f"/v1/recommendations/{quote(user, safe='')}?n=5").raise_for_status().json()
for place, each in enumerate(answer["items"], 1):
    print(f"{place}. {each['item']}  {each['score']:.3f}")
print(f"from version {answer['version']}, {answer['fallback'] or 'personal'}")
