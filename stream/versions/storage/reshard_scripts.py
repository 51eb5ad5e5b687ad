"""The Lua scripts that take all shards of a model and put fewer in their place, each one atomic step.

They keep to the rules of `stream.versions.storage.scripts`: the model's key prefix is their only key, documents arrive
encoded, and nothing is written before everything has been checked.

This file decides which steps of merging shards are atomic.
"""

from __future__ import annotations

from stream.versions.storage.requests import ClaimAllRequest, ReplaceRequest, with_names

CLAIM_ALL = with_names(
    ClaimAllRequest,
    """
-- Claims of all these shards, and none by others for some seconds. Answers {'format', found}, {'merging', worker} or
-- {'ok', ClaimAllRows}.
local store, merging = KEYS[1] .. 'store', KEYS[1] .. 'merging'
local found = redis.call('HGET', store, 'format')
if found and tonumber(found) > tonumber(format) then return {'format', found} end
local held, held_by = unpack(redis.call('HMGET', merging, 'token', 'worker'))
if held and held ~= token then return {'merging', held_by} end
redis.call('HSET', store, 'format', format)
redis.call('HSET', merging, 'token', token, 'worker', worker)
redis.call('EXPIRE', merging, seconds)
local rows = {}
for i = more_at, #ARGV do
  local shard = KEYS[1] .. 'shard:' .. ARGV[i] .. ':'
  local epoch = redis.call('HINCRBY', shard .. 'fence', 'epoch', 1)
  redis.call('HSET', shard .. 'fence', 'token', token, 'worker', worker, 'claimed_at', claimed_at)
  local head_seq = redis.call('HGET', shard .. 'head', 'seq')
  local entry = head_seq and redis.call('HGET', shard .. 'state:' .. head_seq, 'entry')
  local newest = unpack(redis.call('ZREVRANGE', shard .. 'states', 0, 0))
  table.insert(rows, {epoch, entry or '', head_seq or '', tostring(newest or 0)})
end
return {'ok', rows}
""",
)

HOLD = """
-- The claim of all shards for some more seconds, or its end. Answers 1, or 0 if it is lost.
-- ARGV: token, seconds (0 to end)
local merging = KEYS[1] .. 'merging'
if redis.call('HGET', merging, 'token') ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', merging) else redis.call('EXPIRE', merging, ARGV[2]) end
return 1
"""

REPLACE = with_names(
    ReplaceRequest,
    """
-- First states of merged shards and the version that has them, in the place of all shards that there were. Answers
-- {'ok'}, {'done', number} if that has happened already, {'fenced', shard, worker}, {'stale', shard}, {'race'} or
-- {'missing', chunk}.
local prefix = KEYS[1]
local claims_at = more_at + 7 * tonumber(states)
local chunks_at = claims_at + 4 * tonumber(claims)
local first, _, first_digest = unpack(ARGV, more_at, more_at + 2)
local head_seq, head_digest = unpack(redis.call('HMGET', prefix .. 'shard:' .. first .. ':head', 'seq', 'digest'))
if head_digest == first_digest then
  return {'done', redis.call('HGET', prefix .. 'shard:' .. first .. ':state:' .. head_seq, 'version')}
end
for i = claims_at, chunks_at - 1, 4 do
  local shard = prefix .. 'shard:' .. ARGV[i] .. ':'
  local epoch, held, held_by = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token', 'worker'))
  if epoch ~= ARGV[i + 1] or held ~= token then return {'fenced', ARGV[i], held_by or ''} end
  if (redis.call('HGET', shard .. 'head', 'digest') or '') ~= ARGV[i + 2] then return {'stale', ARGV[i]} end
end
if (redis.call('HGET', prefix .. 'latest', 'id') or '') ~= latest_id then return {'race'} end
if redis.call('HGET', prefix .. 'store', 'lineage') ~= lineage then return {'race'} end
for i = chunks_at, #ARGV do
  if redis.call('EXISTS', prefix .. 'chunk:' .. ARGV[i]) == 0 then return {'missing', ARGV[i]} end
end
for i = chunks_at, #ARGV do redis.call('PERSIST', prefix .. 'chunk:' .. ARGV[i]) end
for i = claims_at, chunks_at - 1, 4 do
  if ARGV[i + 3] ~= '1' then
    redis.call('DEL', prefix .. 'shard:' .. ARGV[i] .. ':head')
    redis.call('SADD', prefix .. 'retired', ARGV[i])
  end
end
for i = more_at, claims_at - 1, 7 do
  local partition, seq, digest, entry, state, keyframe, journal = unpack(ARGV, i, i + 6)
  local shard = prefix .. 'shard:' .. partition .. ':'
  redis.call('HSET', shard .. 'state:' .. seq, 'parent', '', 'digest', digest, 'version', number,
    'created_at', created_at, 'entry', entry, 'state', state, 'delta', '', 'keyframe', keyframe, 'journal', journal,
    'revision', 0)
  redis.call('ZADD', shard .. 'states', seq, seq)
  redis.call('HSET', shard .. 'head', 'seq', seq, 'digest', digest)
end
redis.call('HSET', prefix .. 'version:' .. number, 'id', id, 'manifest', manifest, 'shards', shards)
redis.call('ZADD', prefix .. 'versions', created_at, number)
redis.call('HSET', prefix .. 'ids', id, number)
redis.call('HSET', prefix .. 'latest', 'number', number, 'id', id)
redis.call('HSET', prefix .. 'store', 'shards', shards_after)
redis.call('DEL', prefix .. 'merging')
redis.pcall('PUBLISH', prefix .. 'announcements', announcement)
return {'ok'}
""",
)
