"""The Lua scripts: each is one atomic step, small, and writes only after everything has been checked.

Every script gets the model's key prefix as its only key. All keys of a model share one hash tag, so on a cluster they
are on the node that runs the script. Documents arrive encoded: no script parses JSON, and none writes more than a line
that it glues together. Redis 6.2 has every command used here.

Announcements alone may fail: nothing depends on them, and a user may have no right to publish.

This file decides which steps are atomic. The names of arguments and answers are decided in
`stream.versions.storage.requests`.
"""

from __future__ import annotations

from stream.versions.storage.access_scripts import NOTE
from stream.versions.storage.requests import (
    AliasRequest,
    ChainRequest,
    ClaimRequest,
    DropRequest,
    LeaveRequest,
    LineageRequest,
    PublishRequest,
    ReencodeRequest,
    ReportRequest,
    with_names,
)

CLAIM = with_names(
    ClaimRequest,
    """
-- A new epoch and token for a shard. Answers {'format', found}, {'merging', worker}, {'shards', number} or a
-- ClaimReply.
local store, shard = KEYS[1] .. 'store', KEYS[1] .. 'shard:' .. partition .. ':'
local found = redis.call('HGET', store, 'format')
if found and tonumber(found) > tonumber(format) then return {'format', found} end
local merged_by = redis.call('HGET', KEYS[1] .. 'merging', 'worker')
if merged_by then return {'merging', merged_by} end
local known = redis.call('HGET', store, 'shards')
if known and redis.call('EXISTS', KEYS[1] .. 'latest') == 1 then
  if (shards ~= '' and shards ~= known) or tonumber(partition) >= tonumber(known) then return {'shards', known} end
end
redis.call('HSET', store, 'format', format)
if shards ~= '' then redis.call('HSET', store, 'shards', shards) end
if redis.call('HSETNX', store, 'lineage', first_lineage) == 1 then
  redis.call('HSET', store, 'lineage_run', redis_run)
end
local head_seq, head_digest = unpack(redis.call('HMGET', shard .. 'head', 'seq', 'digest'))
local stopped, run_before = unpack(redis.call('HMGET', shard .. 'fence', 'stopped', 'redis_run'))
local same_run = redis_run ~= unknown_run and
  (run_before == redis_run or redis.call('HGET', store, 'lineage_run') == redis_run)
if head_seq and run_before and stopped ~= head_digest and not same_run then
  redis.call('HSET', shard .. 'fence', 'doubt', 1)
end
local epoch = redis.call('HINCRBY', shard .. 'fence', 'epoch', 1)
redis.call('HDEL', shard .. 'fence', 'stopped')
redis.call('HSET', shard .. 'fence', 'token', token, 'worker', worker, 'claimed_at', claimed_at,
  'redis_run', redis_run)
local entry = head_seq and redis.call('HGET', shard .. 'state:' .. head_seq, 'entry')
local newest = unpack(redis.call('ZREVRANGE', shard .. 'states', 0, 0))
return {'ok', epoch, redis.call('HGET', store, 'lineage'), entry or '', head_seq or '',
        redis.call('HGET', KEYS[1] .. 'latest', 'number') or '0', tostring(newest or 0),
        redis.call('HGET', shard .. 'head', 'begins_after') or '', redis.call('HGET', shard .. 'fence', 'doubt') or ''}
""",
)

NEW_LINEAGE = with_names(
    LineageRequest,
    """
-- From now on versions belong to another lineage, numbered above what was seen. Answers {'ok'} or {'fenced'}.
local store, shard = KEYS[1] .. 'store', KEYS[1] .. 'shard:' .. partition .. ':'
local held_epoch, held_token = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token'))
if held_epoch ~= epoch or held_token ~= token then return {'fenced'} end
local highest = tonumber(redis.call('HGET', store, 'number_floor') or '0')
if tonumber(floor) > highest then highest = tonumber(floor) end
redis.call('HSET', store, 'lineage', lineage, 'number_floor', string.format('%d', highest),
  'lineage_run', redis_run)
redis.call('HDEL', shard .. 'fence', 'doubt')
return {'ok'}
""",
)

LEAVE = with_names(
    LeaveRequest,
    """
-- The mark of a clean stop: the next claim or publish takes it away. Answers {'ok'} or {'refused'}.
local shard = KEYS[1] .. 'shard:' .. partition .. ':'
local held_epoch, held_token = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token'))
if held_epoch ~= epoch or held_token ~= token then return {'refused'} end
if redis.call('HGET', shard .. 'head', 'digest') ~= digest then return {'refused'} end
redis.call('HSET', shard .. 'fence', 'stopped', digest)
return {'ok'}
""",
)

TIP = """
-- The version that the next one has to follow, as a Tip.
local number, id = unpack(redis.call('HMGET', KEYS[1] .. 'latest', 'number', 'id'))
local lineage, number_floor = unpack(redis.call('HMGET', KEYS[1] .. 'store', 'lineage', 'number_floor'))
local manifest = number and redis.call('HGET', KEYS[1] .. 'version:' .. number, 'manifest')
return {number or '0', id or '', manifest or '', lineage or '', number_floor or '0'}
"""

PUBLISH = with_names(
    PublishRequest,
    """
-- One shard's new state and the version that has it. Answers {'ok'}, {'done', number} if this state is published
-- already, {'fenced', epoch, worker}, {'stale', head seq, head digest}, {'race'}, {'missing', chunk}, or {'lost'} if
-- Redis no longer knows which version is the newest.
local prefix = KEYS[1]
local shard = prefix .. 'shard:' .. partition .. ':'
local held_epoch, held_token, held_by = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token', 'worker'))
if held_epoch ~= epoch or held_token ~= token then return {'fenced', held_epoch or '', held_by or ''} end
local head_seq, head_digest = unpack(redis.call('HMGET', shard .. 'head', 'seq', 'digest'))
if (head_digest or '') == digest then
  return {'done', redis.call('HGET', shard .. 'state:' .. head_seq, 'version')}
end
local record = shard .. 'state:' .. seq
if (head_digest or '') ~= parent_digest or redis.call('EXISTS', record) == 1 then
  return {'stale', head_seq or '', head_digest or ''}
end
local newest, newest_id = unpack(redis.call('HMGET', prefix .. 'latest', 'number', 'id'))
if not newest_id and redis.call('EXISTS', prefix .. 'versions') == 1 then return {'lost'} end
if tonumber(newest or '0') < tonumber(known_number) then return {'lost'} end
if (newest_id or '') ~= latest_id then return {'race'} end
if redis.call('HGET', prefix .. 'store', 'lineage') ~= lineage then return {'race'} end
for i = more_at, #ARGV do
  if redis.call('EXISTS', prefix .. 'chunk:' .. ARGV[i]) == 0 then return {'missing', ARGV[i]} end
end
for i = more_at, #ARGV do redis.call('PERSIST', prefix .. 'chunk:' .. ARGV[i]) end
redis.call('HSET', record, 'parent', built_upon, 'digest', digest, 'version', number, 'created_at', created_at,
  'entry', entry, 'state', state, 'delta', delta, 'keyframe', keyframe, 'journal', journal, 'revision', 0)
redis.call('ZADD', shard .. 'states', seq, seq)
redis.call('HSET', shard .. 'head', 'seq', seq, 'digest', digest)
redis.call('HDEL', shard .. 'head', 'begins_after')
redis.call('HDEL', shard .. 'fence', 'stopped')
redis.call('HSET', prefix .. 'version:' .. number, 'id', id, 'manifest', manifest, 'shards', shards)
redis.call('ZADD', prefix .. 'versions', created_at, number)
redis.call('HSET', prefix .. 'ids', id, number)
redis.call('HSET', prefix .. 'latest', 'number', number, 'id', id)
redis.pcall('PUBLISH', prefix .. 'announcements', announcement)
return {'ok'}
""",
)

READ = """
-- The first of some names that points to a version: {number, id, manifest}, or {} if none does.
-- ARGV: any of `#<number>`, `latest`, or an alias
for _, name in ipairs(ARGV) do
  local number
  if string.sub(name, 1, 1) == '#' then number = string.sub(name, 2)
  elseif name == 'latest' then number = redis.call('HGET', KEYS[1] .. 'latest', 'number')
  else number = redis.call('HGET', KEYS[1] .. 'aliases', name) end
  if number then
    local id, manifest = unpack(redis.call('HMGET', KEYS[1] .. 'version:' .. number, 'id', 'manifest'))
    return {number, id, manifest}
  end
end
return {}
"""

CHAIN = with_names(
    ChainRequest,
    """
-- Records of a state and those it is encoded upon, newest first, as of one moment: {'ok', ChainRows}, {'gone', seq}
-- where one is missing, or {'unconnected'}.
local shard, at, rows = KEYS[1] .. 'shard:' .. partition .. ':', seq, {}
while at ~= '' do
  local found, parent, delta, keyframe, journal, state = unpack(redis.call('HMGET', shard .. 'state:' .. at,
    'digest', 'parent', 'delta', 'keyframe', 'journal', 'state'))
  if not found or (#rows == 0 and found ~= digest) then return {'gone', at} end
  if found == stop then return {'ok', rows} end
  if #rows > 0 then state = '' end
  table.insert(rows, {at, found, parent, delta, keyframe, journal, state})
  if stop == 'keyframe' and keyframe ~= '' then return {'ok', rows} end
  at = parent
end
if stop == 'root' then return {'ok', rows} end
return {'unconnected'}
""",
)

MOVE_ALIAS = with_names(
    AliasRequest,
    NOTE
    + """
-- An alias moved or removed, with a line in the history: {'ok', why it was not announced or ''} or {'unknown'}.
local from = redis.call('HGET', KEYS[1] .. 'aliases', name)
if number ~= '' and redis.call('EXISTS', KEYS[1] .. 'version:' .. number) == 0 then return {'unknown'} end
note(act)
if number == '' then redis.call('HDEL', KEYS[1] .. 'aliases', name)
else redis.call('HSET', KEYS[1] .. 'aliases', name, number)
end
local to = number == '' and 'null' or number
redis.call('LPUSH', KEYS[1] .. 'alias-history', '{"name":' .. name_json .. ',"from":' .. (from or 'null') ..
  ',"to":' .. to .. ',"who":' .. who_json .. ',"why":' .. why_json .. ',"at":' .. at .. '}')
redis.call('LTRIM', KEYS[1] .. 'alias-history', 0, 9999)
local announced = redis.pcall('PUBLISH', KEYS[1] .. 'announcements', announcement)
return {'ok', type(announced) == 'table' and announced.err or ''}
""",
)

DROP_VERSIONS = """
-- Versions removed by retention, unless an alias or `latest` names them now. ARGV: numbers. Answers those removed.
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

REENCODE = with_names(
    ReencodeRequest,
    """
-- The same state in another encoding, upon another parent: {'ok'}, {'changed'} or {'missing', chunk}.
local shard = KEYS[1] .. 'shard:' .. partition .. ':'
local record = shard .. 'state:' .. seq
local digest_now, revision_now = unpack(redis.call('HMGET', record, 'digest', 'revision'))
if digest_now ~= digest or revision_now ~= revision then return {'changed'} end
if parent ~= '' and redis.call('EXISTS', shard .. 'state:' .. parent) == 0 then return {'changed'} end
local replaced_at = more_at + tonumber(new_chunks)
for i = more_at, replaced_at - 1 do
  if redis.call('EXISTS', KEYS[1] .. 'chunk:' .. ARGV[i]) == 0 then return {'missing', ARGV[i]} end
end
for i = more_at, replaced_at - 1 do redis.call('PERSIST', KEYS[1] .. 'chunk:' .. ARGV[i]) end
redis.call('HSET', record, 'parent', parent, 'delta', delta, 'keyframe', keyframe, 'journal', journal)
redis.call('HINCRBY', record, 'revision', 1)
for i = replaced_at, #ARGV do redis.call('EXPIRE', KEYS[1] .. 'chunk:' .. ARGV[i], replaced_seconds) end
return {'ok'}
""",
)

DROP_STATES = with_names(
    DropRequest,
    """
-- States removed that no version has and no state is encoded upon: {'ok'} or {'changed'}.
local shard = KEYS[1] .. 'shard:' .. partition .. ':'
local head = redis.call('HGET', shard .. 'head', 'seq')
local chunks_at, dropped = more_at + 3 * tonumber(states), {}
for i = more_at, chunks_at - 1, 3 do
  local seq, digest, revision = unpack(ARGV, i, i + 2)
  dropped[seq] = true
  local digest_now, revision_now = unpack(redis.call('HMGET', shard .. 'state:' .. seq, 'digest', 'revision'))
  if seq == head or digest_now ~= digest or revision_now ~= revision then return {'changed'} end
end
for _, seq in ipairs(redis.call('ZRANGE', shard .. 'states', 0, -1)) do
  if not dropped[seq] and dropped[redis.call('HGET', shard .. 'state:' .. seq, 'parent')] then return {'changed'} end
end
for i = more_at, chunks_at - 1, 3 do
  redis.call('DEL', shard .. 'state:' .. ARGV[i])
  redis.call('ZREM', shard .. 'states', ARGV[i])
end
for i = chunks_at, #ARGV do redis.call('EXPIRE', KEYS[1] .. 'chunk:' .. ARGV[i], replaced_seconds) end
return {'ok'}
""",
)

REPORT = with_names(
    ReportRequest,
    """
-- What a worker reports of a shard. Answers {'ok'} or {'refused'}.
local shard, reports = KEYS[1] .. 'shard:' .. partition .. ':', KEYS[1] .. 'reports'
local held_epoch, held_token = unpack(redis.call('HMGET', shard .. 'fence', 'epoch', 'token'))
local seconds, microseconds = unpack(redis.call('TIME'))
local now = seconds + microseconds / 1e6
if token ~= '' then
  if held_epoch ~= epoch or held_token ~= token then return {'refused'} end
else
  local other = redis.call('HGET', shard .. 'report', 'worker')
  local heard = redis.call('ZSCORE', reports, partition)
  if heard and other ~= worker and now - heard < tonumber(fresh_seconds) then return {'refused'} end
end
redis.call('HSET', shard .. 'report', 'worker', worker, 'epoch', held_epoch or '', 'report', report)
redis.call('ZADD', reports, string.format('%.6f', now), partition)
return {'ok'}
""",
)

REPORTS = """
-- The last report of each shard, as ReportRows.
local seconds, microseconds = unpack(redis.call('TIME'))
local now = seconds + microseconds / 1e6
local found = {}
for _, partition in ipairs(redis.call('ZRANGE', KEYS[1] .. 'reports', 0, -1)) do
  local shard = KEYS[1] .. 'shard:' .. partition .. ':'
  local heard = redis.call('ZSCORE', KEYS[1] .. 'reports', partition)
  local worker, epoch, report = unpack(redis.call('HMGET', shard .. 'report', 'worker', 'epoch', 'report'))
  local held_epoch = redis.call('HGET', shard .. 'fence', 'epoch')
  if report then
    table.insert(found, {partition, string.format('%.3f', now - heard), worker, epoch, held_epoch or '', report})
  end
end
return found
"""
