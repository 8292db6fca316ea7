-- Included: reading and writing leases.

local ULID_DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

-- The unix milliseconds in a ULID; 0 if it is none.
local function ulid_ms(ulid)
  if type(ulid) ~= 'string' or #ulid ~= 26 then
    return 0
  end
  local upper = string.upper(ulid)
  local ms = 0
  for i = 1, 10 do
    local digit = string.find(ULID_DIGITS, string.sub(upper, i, i), 1, true)
    if not digit then
      return 0
    end
    ms = ms * 32 + digit - 1
  end
  return ms
end

-- The lease as a table; nil if there is none or it cannot be read.
local function read_lease(key)
  local stored = redis.call('GET', key)
  if not stored then
    return nil
  end
  local ok, lease = pcall(cjson.decode, stored)
  if not ok or type(lease) ~= 'table' then
    return nil
  end
  return lease
end

-- A lease lasts until the moment in its id.
local function is_live(lease, now_ms)
  return ulid_ms(lease.leaseID) > now_ms
end

-- Port 0 stands for an unknown one, which is left out.
local function set_executor(lease, host, port)
  lease.executorIP = host
  lease.executorPort = nil
  if tonumber(port) ~= 0 then
    lease.executorPort = tonumber(port)
  end
end
