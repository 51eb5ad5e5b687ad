"""The Lua scripts that heal a store which has lost a part, under the rules of `stream.versions.storage.scripts`.

This file decides which steps of healing are atomic.
"""

from __future__ import annotations

from stream.versions.storage.requests import SetAsideRequest, with_names

SET_ASIDE = with_names(
    SetAsideRequest,
    """
-- A shard's head moved to another state, or to none, in a new lineage; an alias for the version that had the head.
-- Answers {'ok'}, {'fenced'} or {'changed'}.
local store, shard = KEYS[1] .. 'store', KEYS[1] .. 'shard:' .. partition .. ':'
local held_epoch, held_token = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token'))
if held_epoch ~= epoch or held_token ~= token then return {'fenced'} end
local found = redis.call('HGET', shard .. 'head', 'seq')
if found and found ~= head_seq then return {'changed'} end
if seq ~= '' and redis.call('HGET', shard .. 'state:' .. seq, 'digest') ~= digest then return {'changed'} end
redis.call('DEL', shard .. 'head')
if seq == '' then redis.call('HSET', shard .. 'head', 'begins_after', head_seq)
else redis.call('HSET', shard .. 'head', 'seq', seq, 'digest', digest) end
local highest = tonumber(redis.call('HGET', store, 'number_floor') or '0')
if tonumber(floor) > highest then highest = tonumber(floor) end
redis.call('HSET', store, 'lineage', lineage, 'number_floor', string.format('%d', highest))
if number ~= '' and redis.call('EXISTS', KEYS[1] .. 'version:' .. number) == 1 then
  local from = redis.call('HGET', KEYS[1] .. 'aliases', alias)
  redis.call('HSET', KEYS[1] .. 'aliases', alias, number)
  redis.call('LPUSH', KEYS[1] .. 'alias-history', '{"name":' .. alias_json .. ',"from":' .. (from or 'null') ..
    ',"to":' .. number .. ',"who":' .. who_json .. ',"why":' .. why_json .. ',"at":' .. at .. '}')
  redis.call('LTRIM', KEYS[1] .. 'alias-history', 0, 9999)
end
redis.pcall('PUBLISH', KEYS[1] .. 'announcements', announcement)
return {'ok'}
""",
)

MEND_LATEST = """
-- The newest version that has a manifest becomes `latest`, if `latest` or its version is lost; later versions get
-- numbers above all that are listed. Answers {'ok'} if nothing was lost, else {'mended'}.
local versions, latest = KEYS[1] .. 'versions', KEYS[1] .. 'latest'
local number = redis.call('HGET', latest, 'number')
if number and redis.call('HEXISTS', KEYS[1] .. 'version:' .. number, 'manifest') == 1 then return {'ok'} end
if not number and redis.call('EXISTS', versions) == 0 then return {'ok'} end
local highest = tonumber(redis.call('HGET', KEYS[1] .. 'store', 'number_floor') or '0')
if number and tonumber(number) > highest then highest = tonumber(number) end
local found, found_id
for _, each in ipairs(redis.call('ZREVRANGE', versions, 0, -1)) do
  if tonumber(each) > highest then highest = tonumber(each) end
  local id, manifest = unpack(redis.call('HMGET', KEYS[1] .. 'version:' .. each, 'id', 'manifest'))
  if not (id and manifest) then redis.call('ZREM', versions, each)
  elseif not found then found, found_id = each, id end
end
if found then redis.call('HSET', latest, 'number', found, 'id', found_id)
else redis.call('DEL', latest) end
redis.call('HSET', KEYS[1] .. 'store', 'number_floor', string.format('%d', highest))
return {'mended'}
"""
