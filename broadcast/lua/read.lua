-- Read what is kept of a topic after a seq.
-- KEYS: epoch, the topic's last seq, its events. ARGV: epoch, since ('' for none), most events to return.
-- Returns {'epoch'} | {'read', last seq or '', number of events kept, event, ...}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'epoch'}
end
local last = redis.call('GET', KEYS[2])
if not last then
  return {'read', '', 0}
end
local kept = redis.call('LLEN', KEYS[3])
local result = {'read', last, kept}
if ARGV[2] ~= '' then
  local missed = tonumber(last) - tonumber(ARGV[2])
  if missed > 0 and missed <= kept and missed <= tonumber(ARGV[3]) then
    for _, body in ipairs(redis.call('LRANGE', KEYS[3], -missed, -1)) do
      result[#result + 1] = body
    end
  end
end
return result
