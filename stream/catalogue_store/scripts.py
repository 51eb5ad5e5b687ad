"""The Lua scripts of the catalogue: each is one atomic step.

Every script gets the model's key prefix as its only key, as those of the version store do, and parses no JSON.
Announcements alone may fail: servers also look by themselves.

This file decides which steps are atomic.
"""

from __future__ import annotations

WRITE = """
-- Documents stored, numbered, logged and announced. ARGV: kind (item or user), length of the log, id for a catalogue
-- that has none, then for each document: id, the revision that it must have ('' for any, 0 for none), and the document
-- ('' to delete it). Answers {'ok', last revision}, or {'changed', place, revision}.
local head, kind = KEYS[1] .. 'catalogue', ARGV[1]
local documents, ids = head .. ':' .. kind .. 's', head .. ':' .. kind .. '-ids'
for i = 4, #ARGV, 3 do
  if ARGV[i + 1] ~= '' then
    local found = redis.call('HGET', documents, ARGV[i])
    local revision = found and string.match(found, '^%d+') or '0'
    if found and string.match(found, '^%d+ $') and ARGV[i + 1] == '0' then revision = '0' end
    if revision ~= ARGV[i + 1] then return {'changed', (i - 4) / 3, revision} end
  end
end
redis.call('HSETNX', head, 'id', ARGV[3])
local revision = tonumber(redis.call('HGET', head, kind .. 's') or '0')
for i = 4, #ARGV, 3 do
  local id, document = ARGV[i], ARGV[i + 2]
  revision = revision + 1
  if document ~= '' then
    redis.call('HSET', documents, id, string.format('%d ', revision) .. document)
    redis.call('ZADD', ids, 0, id)
  else
    redis.call('ZREM', ids, id)
    if kind == 'item' then redis.call('HSET', documents, id, string.format('%d ', revision))
    else redis.call('HDEL', documents, id) end
  end
  if kind == 'item' then redis.call('LPUSH', head .. ':item-log', id) end
end
redis.call('HSET', head, kind .. 's', string.format('%d', revision))
if kind == 'item' then
  redis.call('LTRIM', head .. ':item-log', 0, ARGV[2] - 1)
  redis.pcall('PUBLISH', head .. ':announcements', string.format('%d', revision))
end
return {'ok', revision}
"""

CHANGES = """
-- Changes after a revision. ARGV: id of the catalogue that the caller knows, its revision, most changes to be answered.
-- Answers {'same'}, {'reload'} if it is another catalogue or the log no longer reaches back, or
-- {'ok', revision with these changes, id, document, id, document, ...}.
local head = KEYS[1] .. 'catalogue'
local id, newest = unpack(redis.call('HMGET', head, 'id', 'items'))
local known = tonumber(ARGV[2])
newest = tonumber(newest or '0')
if (id or '') ~= ARGV[1] or newest < known then return {'reload'} end
if newest == known then return {'same'} end
local last = newest - known - 1
local first = math.max(0, last - ARGV[3] + 1)
local changed = redis.call('LRANGE', head .. ':item-log', first, last)
if #changed < last - first + 1 then return {'reload'} end
local answer = {'ok', known + #changed}
for place = #changed, 1, -1 do
  local item = changed[place]
  table.insert(answer, item)
  table.insert(answer, redis.call('HGET', head .. ':items', item) or '')
end
return answer
"""
