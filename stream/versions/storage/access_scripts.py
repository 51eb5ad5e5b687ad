"""Lua scripts of keys and of the audit trail. `KEYS[1]` is the prefix of the model's keys.

A key and the record of its change are written in one atomic step, so no act goes unrecorded. The trail is a stream: its
entries have the time of Redis's clock and can't be changed, only the oldest are cut off.

This file decides which steps are atomic, and how many acts are kept for how long.
"""

from __future__ import annotations

from stream.versions.storage.requests import ActRequest, KeysRequest, with_names

MOST_ACTS = 100_000
"""Acts that are kept, apart from up to a hundred more: Redis cuts a stream where that costs little."""

MOST_ACT_DAYS = 400
"""Age at which an act is cut off, with the same reservation."""

NOTE = f"""
local function note(act)
  local oldest = (tonumber(redis.call('TIME')[1]) - {MOST_ACT_DAYS * 86_400}) * 1000
  redis.call('XTRIM', KEYS[1] .. 'audit', 'MINID', '~', string.format('%.0f', math.max(oldest, 0)))
  redis.call('XADD', KEYS[1] .. 'audit', 'MAXLEN', '~', {MOST_ACTS}, '*', 'act', act)
end
"""
"""Lua function that appends one act, for every script that carries one out. A script calls it before its first write:
if Redis refuses the record, the act is not carried out."""

CHANGE_KEYS = with_names(
    KeysRequest,
    NOTE
    + """
-- Keys made or changed together, unless one of them has another record than was read: {'ok'} or {'changed', its id}.
for at = more_at, #ARGV, 3 do
  if (redis.call('HGET', KEYS[1] .. 'keys', ARGV[at]) or '') ~= ARGV[at + 1] then return {'changed', ARGV[at]} end
end
note(act)
for at = more_at, #ARGV, 3 do redis.call('HSET', KEYS[1] .. 'keys', ARGV[at], ARGV[at + 2]) end
return {'ok'}
""",
)

NOTE_ACT = with_names(ActRequest, NOTE + "note(act)\n")
"""Script that appends one act that Redis does not carry out itself."""
