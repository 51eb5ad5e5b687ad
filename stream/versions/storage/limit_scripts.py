"""Lua script of limits. `KEYS[1]` is the prefix of the model's keys.

All servers of a model spend from the same buckets: each reports what it has spent since it last did, and learns what is
left. A bucket that is full again has no key.

This file decides how a bucket fills, and when its key expires.
"""

from __future__ import annotations

from typing import NamedTuple

DAY_SECONDS = 86_400


class LimitRow(NamedTuple):
    """One bucket in a call of `SPEND`.

    Attributes:
        name: of the bucket.
        rate: what it gains each second; 0 for a quota of a calendar day (UTC, by Redis's clock).
        most: what it holds when full, or the quota.
        spent: what was taken since the last call; less than 0 gives back.
    """

    name: str
    rate: float
    most: float
    spent: float


SPEND = f"""
local function millionths(number) return string.format('%.0f', number * 1000000) end
-- Millionths left in each bucket after it was spent from; less than 0 if several servers have spent the same.
local time = redis.call('TIME')
local now, left = time[1] + time[2] / 1000000, {{}}
for at = 1, #ARGV, 4 do
  local key = KEYS[1] .. 'limit:' .. ARGV[at]
  local rate, most, spent = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  if rate == 0 then
    key = key .. ':' .. math.floor(now / {DAY_SECONDS})
    local used = redis.call('HINCRBY', key, 'spent', string.format('%.0f', spent))
    left[#left + 1] = millionths(most - used)
    redis.call('EXPIRE', key, {2 * DAY_SECONDS})
  else
    local cell = redis.call('HMGET', key, 'level', 'at')
    local level = most
    if cell[1] then level = math.min(most, cell[1] / 1000000 + math.max(now - cell[2] / 1000000, 0) * rate) end
    level = level - spent
    redis.call('HSET', key, 'level', millionths(level), 'at', millionths(now))
    redis.call('EXPIRE', key, math.ceil(math.max(most - level, 0) / rate) + 1)
    left[#left + 1] = millionths(level)
  end
end
return left
"""
