"""The Lua scripts: each is one atomic step, small, and writes only after everything has been checked.

Every script gets the model's key prefix as its only key. All keys of a model share one hash tag, so on a cluster they
are on the node that runs the script. Documents arrive encoded: no script parses or writes JSON beyond gluing it.
"""

from __future__ import annotations

CLAIM = """
-- A new epoch and token for a shard. ARGV: partition, token, worker, now, format, lineage if there is none yet
local store, shard = KEYS[1] .. 'store', KEYS[1] .. 'shard:' .. ARGV[1] .. ':'
local format = redis.call('HGET', store, 'format')
if format and format ~= ARGV[5] then return {'format', format} end
redis.call('HSET', store, 'format', ARGV[5])
redis.call('HSETNX', store, 'lineage', ARGV[6])
local epoch = redis.call('HINCRBY', shard .. 'fence', 'epoch', 1)
redis.call('HSET', shard .. 'fence', 'token', ARGV[2], 'worker', ARGV[3], 'claimed_at', ARGV[4])
local head = redis.call('HMGET', shard .. 'head', 'seq', 'digest')
local newest = redis.call('ZREVRANGE', shard .. 'states', 0, 0)[1]
local entry = head[1] and redis.call('HGET', shard .. 'state:' .. head[1], 'entry')
return {'ok', epoch, redis.call('HGET', store, 'lineage'), entry or '', head[1] or '',
        redis.call('HGET', KEYS[1] .. 'latest', 'number') or '0', tostring(newest or 0)}
"""

NEW_LINEAGE = """
-- From now on versions belong to another lineage, numbered above what was seen.
-- ARGV: partition, epoch, token, lineage, floor
local store, shard = KEYS[1] .. 'store', KEYS[1] .. 'shard:' .. ARGV[1] .. ':'
local fence = redis.call('HMGET', shard .. 'fence', 'epoch', 'token')
if fence[1] ~= ARGV[2] or fence[2] ~= ARGV[3] then return {'fenced'} end
local floor = tonumber(redis.call('HGET', store, 'number_floor') or '0')
if tonumber(ARGV[5]) > floor then floor = tonumber(ARGV[5]) end
redis.call('HSET', store, 'lineage', ARGV[4], 'number_floor', string.format('%d', floor))
return {'ok'}
"""

TIP = """
-- What the next version has to follow on.
local latest = redis.call('HMGET', KEYS[1] .. 'latest', 'number', 'id')
local store = redis.call('HMGET', KEYS[1] .. 'store', 'lineage', 'number_floor')
local manifest = latest[1] and redis.call('HGET', KEYS[1] .. 'version:' .. latest[1], 'manifest')
return {latest[1] or '0', latest[2] or '', manifest or '', store[1] or '', store[2] or '0'}
"""

PUBLISH = """
-- One shard's new state and the version that has it. ARGV: 1 partition, 2 epoch, 3 token, 4 parent seq,
-- 5 parent digest, 6 seq, 7 digest, 8 latest id, 9 lineage, 10 number, 11 id, 12 manifest, 13 shards, 14 now,
-- 15 entry, 16 state, 17 delta, 18 keyframe, 19 journal, 20 announcement, 21... names of chunks
local prefix = KEYS[1]
local shard = prefix .. 'shard:' .. ARGV[1] .. ':'
local fence = redis.call('HMGET', shard .. 'fence', 'epoch', 'token', 'worker')
if fence[1] ~= ARGV[2] or fence[2] ~= ARGV[3] then return {'fenced', fence[1] or '', fence[3] or ''} end
local head = redis.call('HMGET', shard .. 'head', 'seq', 'digest')
if (head[2] or '') == ARGV[7] then return {'done', redis.call('HGET', shard .. 'state:' .. head[1], 'version')} end
local state = shard .. 'state:' .. ARGV[6]
if (head[2] or '') ~= ARGV[5] or redis.call('EXISTS', state) == 1 then
  return {'stale', head[1] or '', head[2] or ''}
end
if (redis.call('HGET', prefix .. 'latest', 'id') or '') ~= ARGV[8] then return {'race'} end
if redis.call('HGET', prefix .. 'store', 'lineage') ~= ARGV[9] then return {'race'} end
for i = 21, #ARGV do
  if redis.call('EXISTS', prefix .. 'chunk:' .. ARGV[i]) == 0 then return {'missing', ARGV[i]} end
end
for i = 21, #ARGV do redis.call('PERSIST', prefix .. 'chunk:' .. ARGV[i]) end
redis.call('HSET', state, 'parent', ARGV[4], 'digest', ARGV[7], 'version', ARGV[10], 'created_at', ARGV[14],
  'entry', ARGV[15], 'state', ARGV[16], 'delta', ARGV[17], 'keyframe', ARGV[18], 'journal', ARGV[19], 'revision', 0)
redis.call('ZADD', shard .. 'states', ARGV[6], ARGV[6])
redis.call('HSET', shard .. 'head', 'seq', ARGV[6], 'digest', ARGV[7])
redis.call('HSET', prefix .. 'version:' .. ARGV[10], 'id', ARGV[11], 'manifest', ARGV[12], 'shards', ARGV[13])
redis.call('ZADD', prefix .. 'versions', ARGV[14], ARGV[10])
redis.call('HSET', prefix .. 'ids', ARGV[11], ARGV[10])
redis.call('HSET', prefix .. 'latest', 'number', ARGV[10], 'id', ARGV[11])
redis.call('PUBLISH', prefix .. 'announcements', ARGV[20])
return {'ok'}
"""

READ = """
-- The first of some names that points to a version. ARGV: `#<number>`, `latest`, or an alias
for _, name in ipairs(ARGV) do
  local number
  if string.sub(name, 1, 1) == '#' then number = string.sub(name, 2)
  elseif name == 'latest' then number = redis.call('HGET', KEYS[1] .. 'latest', 'number')
  else number = redis.call('HGET', KEYS[1] .. 'aliases', name) end
  if number then
    local found = redis.call('HMGET', KEYS[1] .. 'version:' .. number, 'id', 'manifest')
    return {number, found[1], found[2]}
  end
end
return {}
"""

CHAIN = """
-- Records of a state and those it is encoded upon, newest first, as of one moment.
-- ARGV: partition, seq, digest, stop digest (or 'keyframe': stop where a keyframe is; or 'root': go all the way)
local shard = KEYS[1] .. 'shard:' .. ARGV[1] .. ':'
local seq, rows = ARGV[2], {}
while seq ~= '' do
  local row = redis.call('HMGET', shard .. 'state:' .. seq, 'digest', 'parent', 'delta', 'keyframe', 'journal', 'state')
  if not row[1] or (#rows == 0 and row[1] ~= ARGV[3]) then return {'gone', seq} end
  if row[1] == ARGV[4] then return {'ok', rows} end
  if #rows > 0 then row[6] = '' end
  table.insert(row, 1, seq)
  table.insert(rows, row)
  if ARGV[4] == 'keyframe' and row[5] ~= '' then return {'ok', rows} end
  seq = row[3]
end
if ARGV[4] == 'root' then return {'ok', rows} end
return {'unconnected'}
"""

MOVE_ALIAS = """
-- ARGV: name, number or '', name as JSON, who as JSON, why as JSON, at, announcement
local from = redis.call('HGET', KEYS[1] .. 'aliases', ARGV[1])
if ARGV[2] == '' then redis.call('HDEL', KEYS[1] .. 'aliases', ARGV[1])
else
  if redis.call('EXISTS', KEYS[1] .. 'version:' .. ARGV[2]) == 0 then return {'unknown'} end
  redis.call('HSET', KEYS[1] .. 'aliases', ARGV[1], ARGV[2])
end
local to = ARGV[2] == '' and 'null' or ARGV[2]
redis.call('LPUSH', KEYS[1] .. 'alias-history', '{"name":' .. ARGV[3] .. ',"from":' .. (from or 'null') ..
  ',"to":' .. to .. ',"who":' .. ARGV[4] .. ',"why":' .. ARGV[5] .. ',"at":' .. ARGV[6] .. '}')
redis.call('LTRIM', KEYS[1] .. 'alias-history', 0, 9999)
redis.call('PUBLISH', KEYS[1] .. 'announcements', ARGV[7])
return {'ok', from or ''}
"""

DROP_VERSIONS = """
-- Versions that retention lets go, unless an alias or `latest` names them now. ARGV: numbers. Returns those that went.
local kept = {}
for _, number in ipairs(redis.call('HVALS', KEYS[1] .. 'aliases')) do kept[number] = true end
kept[redis.call('HGET', KEYS[1] .. 'latest', 'number') or ''] = true
local gone = {}
for _, number in ipairs(ARGV) do
  if not kept[number] then
    local id = redis.call('HGET', KEYS[1] .. 'version:' .. number, 'id')
    if id then redis.call('HDEL', KEYS[1] .. 'ids', id) end
    redis.call('DEL', KEYS[1] .. 'version:' .. number)
    redis.call('ZREM', KEYS[1] .. 'versions', number)
    table.insert(gone, number)
  end
end
return gone
"""

REENCODE = """
-- The same state in another encoding, upon another parent. ARGV: 1 partition, 2 seq, 3 digest, 4 revision, 5 parent,
-- 6 delta, 7 keyframe, 8 journal, 9 seconds that old chunks live on, 10 how many new chunks, 11... new, then old chunks
local shard = KEYS[1] .. 'shard:' .. ARGV[1] .. ':'
local state = shard .. 'state:' .. ARGV[2]
local now = redis.call('HMGET', state, 'digest', 'revision')
if now[1] ~= ARGV[3] or now[2] ~= ARGV[4] then return {'changed'} end
if ARGV[5] ~= '' and redis.call('EXISTS', shard .. 'state:' .. ARGV[5]) == 0 then return {'changed'} end
local new = tonumber(ARGV[10])
for i = 11, 10 + new do
  if redis.call('EXISTS', KEYS[1] .. 'chunk:' .. ARGV[i]) == 0 then return {'missing', ARGV[i]} end
end
for i = 11, 10 + new do redis.call('PERSIST', KEYS[1] .. 'chunk:' .. ARGV[i]) end
redis.call('HSET', state, 'parent', ARGV[5], 'delta', ARGV[6], 'keyframe', ARGV[7], 'journal', ARGV[8])
redis.call('HINCRBY', state, 'revision', 1)
for i = 11 + new, #ARGV do redis.call('EXPIRE', KEYS[1] .. 'chunk:' .. ARGV[i], ARGV[9]) end
return {'ok'}
"""

DROP_STATES = """
-- States that no version has and no state is encoded upon. ARGV: 1 partition, 2 seconds that chunks live on, 3 how many
-- states, 4... for each: seq, digest, revision; then the chunks
local shard = KEYS[1] .. 'shard:' .. ARGV[1] .. ':'
local head = redis.call('HGET', shard .. 'head', 'seq')
local count, going = tonumber(ARGV[3]), {}
for i = 0, count - 1 do
  local seq = ARGV[4 + 3 * i]
  going[seq] = true
  local now = redis.call('HMGET', shard .. 'state:' .. seq, 'digest', 'revision')
  if seq == head or now[1] ~= ARGV[5 + 3 * i] or now[2] ~= ARGV[6 + 3 * i] then return {'changed'} end
end
for _, seq in ipairs(redis.call('ZRANGE', shard .. 'states', 0, -1)) do
  if not going[seq] and going[redis.call('HGET', shard .. 'state:' .. seq, 'parent')] then return {'changed'} end
end
for i = 0, count - 1 do
  redis.call('DEL', shard .. 'state:' .. ARGV[4 + 3 * i])
  redis.call('ZREM', shard .. 'states', ARGV[4 + 3 * i])
end
for i = 4 + 3 * count, #ARGV do redis.call('EXPIRE', KEYS[1] .. 'chunk:' .. ARGV[i], ARGV[2]) end
return {'ok'}
"""
