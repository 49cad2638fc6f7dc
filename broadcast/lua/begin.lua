-- Begin a new history, unless somebody else has just done so. What older ones hold is out of reach, and expires.
-- KEYS: epoch. ARGV: the epoch as last seen ('' for none), Redis' run id, milliseconds to add to the present.
-- Returns the epoch that counts now.
local current = redis.call('GET', KEYS[1])
if current and current ~= ARGV[1] then
  return current
end
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) + tonumber(ARGV[3])
local epoch = string.format('%.0f', ms) .. '-' .. ARGV[2]
redis.call('SET', KEYS[1], epoch)
return epoch
