-- Read what is kept of a topic after a seq.
-- KEYS: epoch, the topic's head, its events.
-- ARGV: epoch, since ('' for none), most events to return, most bytes to return (0: any number).
-- Returns {'epoch'} | {'read', last seq or '', number of events kept, 1 if older ones were given up, event, ...}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'epoch'}
end
local head = redis.call('GET', KEYS[2])
if not head then
  return {'read', '', 0, '0'}
end
local last, trimmed = string.match(head, '^(%d+),%d+,(%d)$')
local kept = redis.call('LLEN', KEYS[3])
local result = {'read', last, kept, trimmed}
if ARGV[2] == '' then
  return result
end
local missed = tonumber(last) - tonumber(ARGV[2])
if missed < 1 or missed > kept or missed > tonumber(ARGV[3]) then
  return result
end
local bytes, most_bytes = 0, tonumber(ARGV[4])
for _, body in ipairs(redis.call('LRANGE', KEYS[3], -missed, -1)) do
  bytes = bytes + #body
  if most_bytes > 0 and bytes > most_bytes then
    return {'read', last, kept, trimmed}
  end
  result[#result + 1] = body
end
return result
