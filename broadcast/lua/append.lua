-- Take a batch of durable events and revocations, all or nothing.
-- KEYS: epoch, control stream, then for each topic its head and its events.
-- ARGV: epoch, most events and most bytes to keep of a topic, seconds to keep events, seconds to keep a head,
--       control's oldest id (ms), number of topics, number of revocations,
--       then for each topic: number of runs, and for each run of events without a gap: first seq, length, bodies;
--       then each revocation.
-- A head is 'newest seq, bytes kept, 1 if older events were given up for room'.
-- Returns {'epoch'} | {'gaps', topic index, expected seq, ...} | {'taken', duplicates}.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'epoch'}
end
local topics, revocations = tonumber(ARGV[7]), tonumber(ARGV[8])
local at, duplicates, gaps, taken = 9, 0, {'gaps'}, {}
for topic = 1, topics do
  local head = redis.call('GET', KEYS[1 + 2 * topic])
  local known, bytes, trimmed
  if head then
    known, bytes, trimmed = string.match(head, '^(%d+),(%d+),(%d)$')
    known, bytes = tonumber(known), tonumber(bytes)
  end
  local last, runs, expected, gapped = known, {}, nil, false
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    local first, length = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
    expected = expected or (known and known + 1) or first
    if last and first > last + 1 then
      if not gapped then
        gapped = true
        gaps[#gaps + 1] = topic
        gaps[#gaps + 1] = string.format('%.0f', expected)
      end
    else
      local skip = last and math.min(length, last + 1 - first) or 0
      duplicates = duplicates + skip
      if skip < length then
        runs[#runs + 1] = {at + 2 + skip, at + 1 + length}
        last = first + length - 1
      end
    end
    at = at + 2 + length
  end
  taken[topic] = {last = last, runs = runs, bytes = bytes or 0, trimmed = trimmed or '0', is_new = not head}
end
if #gaps > 1 then
  return gaps
end

local most_events, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3])
for topic = 1, topics do
  local new, events_key = taken[topic], KEYS[2 + 2 * topic]
  if #new.runs > 0 then
    if new.is_new and redis.call('EXISTS', events_key) == 1 then
      -- A script that begins with a DEL is not refused when Redis is full, whatever it writes then.
      redis.call('DEL', events_key)
    end
    local kept, added, bytes = 0, 0, 0
    for _, run in ipairs(new.runs) do
      for first = run[1], run[2], 500 do
        kept = redis.call('RPUSH', events_key, unpack(ARGV, first, math.min(first + 499, run[2])))
      end
      for event = run[1], run[2] do
        bytes = bytes + #ARGV[event]
      end
      added = added + run[2] - run[1] + 1
    end
    if kept > added then
      -- Otherwise what was kept before has expired.
      bytes = bytes + new.bytes
    end
    while kept > 1 and (kept > most_events or bytes > most_bytes) do
      local over = math.max(1, math.min(kept - most_events, 500))
      for _, body in ipairs(redis.call('LPOP', events_key, over)) do
        bytes = bytes - #body
      end
      kept = kept - over
      new.trimmed = '1'
    end
    redis.call('EXPIRE', events_key, ARGV[4])
    local head = string.format('%.0f,%.0f,', new.last, bytes) .. new.trimmed
    redis.call('SET', KEYS[1 + 2 * topic], head, 'EX', ARGV[5])
  end
end
for revocation = 0, revocations - 1 do
  redis.call('XADD', KEYS[2], 'MINID', '~', ARGV[6], '*', 'r', ARGV[at + revocation])
end
return {'taken', duplicates}
