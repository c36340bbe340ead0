"""Lua scripts for changes that must be atomic on the server. Each checks everything before it writes.

A script may be sent again after a lost reply: if the write is already there, the reply is the same as the first time.
"""

from __future__ import annotations

# KEYS: audit, active, by-time, runs, runs-by-time, deleted, then the state of each run with closed attempts
# ARGV: expected version, new version, token, active 0|1, created, audit id, document, number of runs,
#       (run id, created, info) per run, the last closed attempt per state, then ids of removed runs
PUT_AUDIT = """
local version = redis.call('HGET', KEYS[1], 'version') or '0'
if version ~= ARGV[1] then
  if version == ARGV[2] and redis.call('HGET', KEYS[1], 'token') == ARGV[3] then return 'ok' end
  return 'conflict'
end
redis.call('HSET', KEYS[1], 'version', ARGV[2], 'token', ARGV[3], 'document', ARGV[7])
if ARGV[4] == '1' then redis.call('SADD', KEYS[2], ARGV[6]) else redis.call('SREM', KEYS[2], ARGV[6]) end
redis.call('ZADD', KEYS[3], ARGV[5], ARGV[6])
local at = 9
for _ = 1, tonumber(ARGV[8]) do
  redis.call('HSET', KEYS[4], ARGV[at], ARGV[at + 2])
  redis.call('ZADD', KEYS[5], ARGV[at + 1], ARGV[at])
  at = at + 3
end
for state = 7, #KEYS do
  redis.call('HSET', KEYS[state], 'closed', ARGV[at])
  at = at + 1
end
while at <= #ARGV do
  redis.call('SADD', KEYS[6], ARGV[at])
  redis.call('HDEL', KEYS[4], ARGV[at])
  redis.call('ZREM', KEYS[5], ARGV[at])
  at = at + 1
end
return 'ok'
"""

# KEYS: audit, active, by-time   ARGV: expected version, audit id
DELETE_AUDIT = """
if redis.call('HGET', KEYS[1], 'version') ~= ARGV[1] then return 'conflict' end
redis.call('UNLINK', KEYS[1])
redis.call('SREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
return 'ok'
"""

# KEYS: log, its keys   ARGV: key, document
APPEND_LOG = """
if redis.call('SADD', KEYS[2], ARGV[1]) == 1 then redis.call('RPUSH', KEYS[1], ARGV[2]) end
return 'ok'
"""

# KEYS: state   ARGV: attempt
OPEN_ATTEMPT = """
local now = redis.call('HGET', KEYS[1], 'attempt') or '0'
if now == 'deleted' or tonumber(now) > tonumber(ARGV[1]) then return now end
if now ~= '0' and now ~= ARGV[1] then redis.call('HSET', KEYS[1], 'stale:' .. now, '') end
redis.call('HSET', KEYS[1], 'attempt', ARGV[1])
return 'ok'
"""

# Marks the run as deleted: nobody may write to it from now on, and nobody may open it for ARGV[1] seconds.
# KEYS: state
MARK_DELETED = """
local now = redis.call('HGET', KEYS[1], 'attempt')
if now and now ~= 'deleted' then redis.call('HSET', KEYS[1], 'stale:' .. now, '') end
redis.call('HSET', KEYS[1], 'attempt', 'deleted')
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 'ok'
"""

# Existing data is compared byte for byte. An entry exists if its first four bytes, its ordinal + 1, are not 0.
# KEYS: state, metas, segment, streams, ranks, seals, then an index key per stream
# ARGV: attempt, rank, number, meta, columns, entry bytes, gap limit,
#       per stream: field, number of chunks, (first ordinal, bytes) per chunk
PUT_SEGMENT = """
local now = redis.call('HGET', KEYS[1], 'attempt') or 'none'
if now ~= ARGV[1] then return {'attempt', now} end
local there = redis.call('HGET', KEYS[2], ARGV[3])
if there then
  if there ~= ARGV[4] or redis.call('GET', KEYS[3]) ~= ARGV[5] then return {'segment'} end
elseif tonumber(redis.call('HGET', KEYS[1], 'closed') or '0') >= tonumber(now) then return {'over'}
elseif redis.call('HEXISTS', KEYS[6], ARGV[2]) == 1 then return {'sealed'} end
local size, limit = tonumber(ARGV[6]), tonumber(ARGV[7])
local at, gapless = 8, {}
for stream = 7, #KEYS do
  gapless[stream] = tonumber(redis.call('HGET', KEYS[4], ARGV[at]) or '0')
  for chunk = 1, tonumber(ARGV[at + 1]) do
    local first = tonumber(ARGV[at + chunk * 2])
    local last = first + #ARGV[at + chunk * 2 + 1] / size - 1
    if last > gapless[stream] + limit then return {'gap', tostring(last), tostring(gapless[stream])} end
    local bytes = ARGV[at + chunk * 2 + 1]
    local have = redis.call('GETRANGE', KEYS[stream], first * size, first * size + #bytes - 1)
    if have ~= bytes and (there or have ~= '') then
      for byte = 1, #bytes, size do
        local old = string.sub(have, byte, byte + size - 1)
        local new = old == '' or string.sub(old, 1, 4) == '\\0\\0\\0\\0'
        if new and there or not new and old ~= string.sub(bytes, byte, byte + size - 1) then
          return {'entry', ARGV[at], string.format('%d', first + (byte - 1) / size)}
        end
      end
    end
  end
  at = at + 2 + tonumber(ARGV[at + 1]) * 2
end
if there then return {'ok'} end
redis.call('SET', KEYS[3], ARGV[5])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
redis.call('SADD', KEYS[5], ARGV[2])
at = 8
for stream = 7, #KEYS do
  local have = gapless[stream]
  for chunk = 1, tonumber(ARGV[at + 1]) do
    local first, bytes = tonumber(ARGV[at + chunk * 2]), ARGV[at + chunk * 2 + 1]
    local length = redis.call('SETRANGE', KEYS[stream], first * size, bytes)
    if first <= have then
      have = math.max(have, first + #bytes / size)
      while length > have * size
          and redis.call('GETRANGE', KEYS[stream], have * size, have * size + 3) == struct.pack('<I4', have + 1) do
        have = have + 1
      end
    end
  end
  redis.call('HSET', KEYS[4], ARGV[at], string.format('%d', have))
  at = at + 2 + tonumber(ARGV[at + 1]) * 2
end
return {'ok'}
"""

# KEYS: state, seals, ranks   ARGV: attempt, rank, document
PUT_SEAL = """
local now = redis.call('HGET', KEYS[1], 'attempt') or 'none'
if now ~= ARGV[1] then return {'attempt', now} end
local there = redis.call('HGET', KEYS[2], ARGV[2])
if there then return {there == ARGV[3] and 'ok' or 'seal'} end
if tonumber(redis.call('HGET', KEYS[1], 'closed') or '0') >= tonumber(now) then return {'over'} end
redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[2])
return {'ok'}
"""
