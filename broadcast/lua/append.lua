-- Take a batch of durable events and revocations, all or nothing.
-- KEYS: epoch, control stream, then for each topic its last seq and its events.
-- ARGV: epoch, kept length, seconds to keep events, seconds to keep a last seq, control's oldest id (ms),
--       number of topics, number of events, number of revocations,
--       then for each event: index of its topic, seq, body; then each revocation.
-- Returns {'epoch'} | {'gaps', topic index, expected seq, ...} | {'taken', duplicates}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'epoch'}
end
local topics, events, revocations = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local known, last, expected, gapped = {}, {}, {}, {}
for topic = 1, topics do
  known[topic] = tonumber(redis.call('GET', KEYS[1 + 2 * topic]) or nil)
  last[topic] = known[topic]
end

local taken, duplicates, gaps = {}, 0, {'gaps'}
for event = 0, events - 1 do
  local topic, seq = tonumber(ARGV[9 + 3 * event]), tonumber(ARGV[10 + 3 * event])
  expected[topic] = expected[topic] or (known[topic] and known[topic] + 1) or seq
  if last[topic] and seq <= last[topic] then
    duplicates = duplicates + 1
  elseif last[topic] and seq > last[topic] + 1 then
    if not gapped[topic] then
      gapped[topic] = true
      gaps[#gaps + 1] = topic
      gaps[#gaps + 1] = string.format('%.0f', expected[topic])
    end
  else
    last[topic] = seq
    taken[topic] = taken[topic] or {}
    table.insert(taken[topic], ARGV[11 + 3 * event])
  end
end
if #gaps > 1 then
  return gaps
end

for topic, bodies in pairs(taken) do
  local last_key, events_key = KEYS[1 + 2 * topic], KEYS[2 + 2 * topic]
  if not known[topic] then
    redis.call('DEL', events_key)
  end
  for first = 1, #bodies, 500 do
    redis.call('RPUSH', events_key, unpack(bodies, first, math.min(first + 499, #bodies)))
  end
  redis.call('LTRIM', events_key, -tonumber(ARGV[2]), -1)
  redis.call('EXPIRE', events_key, ARGV[3])
  redis.call('SET', last_key, string.format('%.0f', last[topic]), 'EX', ARGV[4])
end
for revocation = 1, revocations do
  redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[5], '*', 'r', ARGV[8 + 3 * events + revocation])
end
return {'taken', duplicates}
