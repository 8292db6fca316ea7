-- Included by acquire, after indexes: noting what changed without a script of ours. Requests
-- expire; the reference implementation writes, changes and deletes connections, and un-assigns
-- requests, without touching our indexes. Each connection that is indexed for an app is known
-- with a time at which its record is read again: soon, unless its gateway keeps the index.

local BATCH = 64 -- connections or workers looked at in one go
local ASKED = 256 -- unknown connections named in one answer
local READ_AGAIN = 1000 -- ms after which what is no candidate may have become one
local READ_GARBAGE_AGAIN = 60000 -- the same for what is garbage

local app, request, slug = ARGV[14], ARGV[13], ARGV[15]
local oldest, garbage = tonumber(ARGV[16]), tonumber(ARGV[17])
local known = index .. 'known:' .. app

-- Ids in the arguments: of active and of draining gateways and of excluded connections.
local active, draining, excluded = {}, {}, {}
local lists_end = 22
for i, ids in ipairs({ active, draining, excluded }) do
  for _ = 1, tonumber(ARGV[19 + i]) do
    lists_end = lists_end + 1
    ids[ARGV[lists_end]] = true
  end
end

local function due_of(connection)
  local serving = connection.status == READY or connection.status == DRAINING
  if serving and connection.heartbeat >= oldest then
    return connection.heartbeat + now_ms - oldest + 1 -- when it would count no more
  end
  return now_ms + (connection.heartbeat > garbage and READ_AGAIN or READ_GARBAGE_AGAIN)
end

-- Index a connection of the app by its record.
local function read_again(connection, worker)
  local due = due_of(connection)
  index_connection(connection, worker, due)
  note_known(app, connection.id, due)
end

-- Take a connection whose record is gone out of everything that concerns the app.
local function drop_gone(id)
  forget_worker(id)
  redis.call('ZREM', known, id)
  redis.call('SREM', KEYS[6], id)
  for _, group in ipairs(redis.call('HKEYS', index .. 'app-groups:' .. app)) do
    local gateways = redis.call('SMEMBERS', index .. 'gateways:' .. app .. ':' .. group)
    for _, gateway in ipairs(gateways) do
      leave_place(id, app, group, gateway)
    end
  end
end

-- Read connections whose time has come; returns how many.
local function read_due()
  local now = whole(now_ms)
  local ids = redis.call('ZRANGEBYSCORE', known, '-inf', now, 'LIMIT', 0, BATCH)
  for _, id in ipairs(ids) do
    local connection = read_connection(id)
    if connection then
      local worker = worker_of(id)
      read_again(connection, worker)
      if worker then
        settle(worker)
      end
    else
      drop_gone(id)
    end
  end
  return #ids
end

-- Look at full workers of which a request has expired; returns how many.
local function settle_expired()
  local now = string.format('%.3f', now_ms / 1000)
  local expired = redis.call('ZRANGEBYSCORE', busy, '-inf', now, 'LIMIT', 0, BATCH)
  for _, worker in ipairs(expired) do
    settle(worker)
  end
  return #expired
end

-- Index the connections whose workers' hashes the caller has found out; returns how many.
local function adopt_connections()
  local adopted = 0
  for i = lists_end + 1, #ARGV, 2 do
    adopted = adopted + 1
    local connection = read_connection(ARGV[i])
    if connection then
      read_again(connection, ARGV[i + 1])
      settle(ARGV[i + 1])
    else
      redis.call('SREM', KEYS[6], ARGV[i])
    end
  end
  return adopted
end

-- A list of id and instance id of connections that are listed for the app but not indexed.
-- All are looked through only when their numbers differ.
local function unknown_connections()
  if redis.call('SCARD', KEYS[6]) == redis.call('ZCARD', known) then
    return {}
  end
  local listed, unknown = {}, {}
  for _, id in ipairs(redis.call('SMEMBERS', KEYS[6])) do
    listed[id] = true
  end
  for _, id in ipairs(redis.call('ZRANGE', known, 0, -1)) do
    if not listed[id] then
      local connection = read_connection(id)
      if not connection then
        drop_gone(id)
      elseif connection.groups[app] then
        redis.call('SADD', KEYS[6], id)
      else
        redis.call('ZREM', known, id)
      end
    end
    listed[id] = nil
  end
  for id in pairs(listed) do
    local connection = read_connection(id)
    if not connection then
      redis.call('SREM', KEYS[6], id)
    elseif #unknown < 2 * ASKED then
      unknown[#unknown + 1] = id
      unknown[#unknown + 1] = connection.instance
    end
  end
  return unknown
end
