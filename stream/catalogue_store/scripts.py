"""The Lua scripts of the catalogue: each is one atomic step.

Every script gets the model's key prefix as its only key, as those of the version store do, and parses no JSON.
Announcements alone may fail: servers also look by themselves.

This file decides which steps are atomic.
"""

from __future__ import annotations

WRITE = """
-- Documents stored, numbered, logged and announced. ARGV: kind (item or user), length of the log of items and of that
-- of visitors' rules, id for a catalogue that has none, name of the log of Kafka that they come from ('' for none), the
-- place in it that the writer went on from, and the one that follows; then for each document: id, the revision that it
-- must have ('' for any, 0 for none), its producer's own revision ('' for none), rules of the visitor ('' for none),
-- and the document ('' to delete it). Documents of Kafka that are older than their producer's last one are left out,
-- and so are those that are stored as they are.
-- Answers {'ok', last revision, number of older ones, of unchanged ones}, {'changed', number of the document, its
-- revision}, or {'moved', place} if another writer went on in that log.
local head, kind = KEYS[1] .. 'catalogue', ARGV[1]
local documents, ids, own = head .. ':' .. kind .. 's', head .. ':' .. kind .. '-ids', head .. ':' .. kind .. '-sources'
local log, first, size = ARGV[5], 8, 5
if log ~= '' then
  local place = redis.call('HGET', head .. ':topics', log) or ''
  if place ~= ARGV[6] then return {'moved', place} end
end
for i = first, #ARGV, size do
  if ARGV[i + 1] ~= '' then
    local found = redis.call('HGET', documents, ARGV[i])
    local revision = found and string.match(found, '^%d+') or '0'
    if found and string.match(found, '^%d+ $') and ARGV[i + 1] == '0' then revision = '0' end
    if revision ~= ARGV[i + 1] then return {'changed', (i - first) / size, revision} end
  end
end
redis.call('HSETNX', head, 'id', ARGV[4])
local revision, ruled = tonumber(redis.call('HGET', head, kind .. 's') or '0'), false
local older, unchanged = 0, 0
for i = first, #ARGV, size do
  local id, source, rules, document = ARGV[i], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local skip = false
  if log ~= '' and document ~= '' then
    if source ~= '' then
      local last = redis.call('HGET', own, id)
      if last and (#source < #last or (#source == #last and source < last)) then
        skip, older = true, older + 1
      elseif last == source then
        skip, unchanged = true, unchanged + 1
      else redis.call('HSET', own, id, source) end
    end
    local found = not skip and redis.call('HGET', documents, id)
    if found and string.match(found, '^%d+ (.*)$') == document then skip, unchanged = true, unchanged + 1 end
  elseif document == '' and (log ~= '' or kind == 'user') then
    redis.call('HDEL', own, id)
  end
  if not skip then
    revision = revision + 1
    if document ~= '' then
      redis.call('HSET', documents, id, string.format('%d ', revision) .. document)
      redis.call('ZADD', ids, 0, id)
    else
      redis.call('ZREM', ids, id)
      if kind == 'item' then redis.call('HSET', documents, id, string.format('%d ', revision))
      else redis.call('HDEL', documents, id) end
    end
    if kind == 'item' then redis.call('LPUSH', head .. ':item-log', id)
    elseif (redis.call('HGET', head .. ':visitor-rules', id) or '') ~= rules then
      ruled = true
      if rules ~= '' then redis.call('HSET', head .. ':visitor-rules', id, rules)
      else redis.call('HDEL', head .. ':visitor-rules', id) end
      redis.call('HINCRBY', head, 'rules', 1)
      redis.call('LPUSH', head .. ':rule-log', id)
    end
  end
end
redis.call('HSET', head, kind .. 's', string.format('%d', revision))
if log ~= '' then redis.call('HSET', head .. ':topics', log, ARGV[7]) end
if kind == 'item' then redis.call('LTRIM', head .. ':item-log', 0, ARGV[2] - 1)
elseif ruled then redis.call('LTRIM', head .. ':rule-log', 0, ARGV[3] - 1) end
if kind == 'item' or ruled then redis.pcall('PUBLISH', head .. ':announcements', string.format('%d', revision)) end
return {'ok', revision, older, unchanged}
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

RULE_CHANGES = """
-- Changes of visitors' rules. ARGV: id of the catalogue that the caller knows, number of the last change that it knows.
-- Answers {'same'}, {'reload', id, number} if it is another catalogue or the log no longer reaches back, or
-- {'ok', number, user, rules, user, rules, ...}.
local head = KEYS[1] .. 'catalogue'
local id, newest = unpack(redis.call('HMGET', head, 'id', 'rules'))
local known = tonumber(ARGV[2])
newest = tonumber(newest or '0')
if (id or '') ~= ARGV[1] or newest < known then return {'reload', id or '', newest} end
if newest == known then return {'same'} end
local changed = redis.call('LRANGE', head .. ':rule-log', 0, newest - known - 1)
if #changed < newest - known then return {'reload', id or '', newest} end
local answer = {'ok', newest}
for _, user in ipairs(changed) do
  table.insert(answer, user)
  table.insert(answer, redis.call('HGET', head .. ':visitor-rules', user) or '')
end
return answer
"""

CLAIM_READING = """
-- One worker alone reads the topics of documents. ARGV: name of the worker, milliseconds for which it may read from now
-- on; 0 gives the claim up. Answers 1 if it may read, 0 if another one does.
local topics = KEYS[1] .. 'catalogue:topics'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local ends, name = string.match(redis.call('HGET', topics, 'reader') or '', '^(%d+) (.*)$')
if name and name ~= ARGV[1] and tonumber(ends) > now then return 0 end
if ARGV[2] == '0' then
  redis.call('HDEL', topics, 'reader')
  return 0
end
redis.call('HSET', topics, 'reader', string.format('%d ', now + ARGV[2]) .. ARGV[1])
return 1
"""
