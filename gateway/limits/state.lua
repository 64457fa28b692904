-- What the scripts share; it is put in front of each of them.
--
-- Amounts and instants (ms since 1970) are integers below 2^53. Nothing here or there reads a key
-- that was not declared, so all keys of a call lie in one slot.

local SKEW = 60000         -- ms that a stored clock may be ahead of ours before it is void
local DAY = 86400000       -- ms
local IDLE = 60000         -- ms at least that an unused counter is kept

local function text(number) return string.format('%.0f', number + 0) end   -- -0 is 0

local function present(given)
  if given ~= '0' then return tonumber(given) end      -- a test's own clock
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The instant by which this call counts. It never runs backwards, because a window that was
-- passed would open again; only a clock that had run far ahead is given up, and what leases were
-- promised by it is cut down to a lease from now. Second result: 1 when that happened.
local function clock(key, leases, given, lease)
  local now, last = present(given), tonumber(redis.call('GET', key) or '0')
  if last >= now and last <= now + SKEW then return last, 0 end
  redis.call('SET', key, text(now))
  if last < now then return now, 0 end
  local ahead = redis.call('ZRANGEBYSCORE', leases, '(' .. text(now + lease), '+inf')
  for _, id in ipairs(ahead) do redis.call('ZADD', leases, text(now + lease), id) end
  return now, 1
end

-- A sliding window is a hash: s = sum, o = oldest bucket kept, n = newest, <bucket> = amount.
-- Buckets now-count .. now overlap the trailing window of count * width ms.
local function window(key, width, count, now)
  local got = redis.call('HMGET', key, 's', 'o', 'n')
  local current = math.floor(now / width)
  local w = {key = key, width = width, count = count, current = current, gone = {}}
  w.sum, w.oldest, w.newest = tonumber(got[1] or '0'), tonumber(got[2]), tonumber(got[3])
  if not w.oldest then
    w.oldest, w.newest = current, current
  elseif w.newest > current then                       -- written by a clock that was given up
    w.void = true
    w.sum, w.oldest, w.newest = 0, current, current
  end
  local keep = current - count
  if w.oldest < keep then
    for bucket = w.oldest, math.min(keep - 1, w.newest) do w.gone[#w.gone + 1] = text(bucket) end
    for _, amount in ipairs(redis.call('HMGET', key, unpack(w.gone))) do
      w.sum = w.sum - tonumber(amount or '0')
    end
    w.oldest = keep
  end
  return w
end

local function charge(w, amount)
  if w.void then redis.call('DEL', w.key) end
  if #w.gone > 0 then redis.call('HDEL', w.key, unpack(w.gone)) end
  redis.call('HINCRBY', w.key, text(w.current), text(amount))
  redis.call('HSET', w.key, 's', text(w.sum + amount), 'o', text(w.oldest), 'n', text(w.current))
  redis.call('PEXPIRE', w.key, text(math.max((w.count + 2) * w.width, IDLE)))
end

-- Days from 1970 to the first of a month, months being counted from March of the year 0, so that
-- the leap day is the last of its year.
local function first_day(month)
  local year = math.floor(month / 12)
  return year * 365 + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month % 12) + 2) / 5) - 719468
end

-- The calendar period (UTC) that holds `now`: its number, and the instant at which it ends.
local function period(unit, now)
  local day = math.floor(now / DAY)
  if unit == 'day' then return day, (day + 1) * DAY end
  local month = math.floor((day + 719468) / 30.436875)
  while first_day(month + 1) <= day do month = month + 1 end
  while first_day(month) > day do month = month - 1 end
  return month, first_day(month + 1) * DAY
end

-- A reservation is stored as tokens,cost|tenant|entry;entry;…|note. First what it was last heard
-- to have used, which is what its owner's death costs; then one entry per limit, which says
-- what was charged where: kind,measure,amount,at,width,count,name.
local function unpacked(record)
  local tokens, cost, tenant, list, note = string.match(record, '^(%d+),(%d+)|(.-)|(.-)|(.*)$')
  local used = {r = 1, t = tonumber(tokens), m = tonumber(cost), c = 1}
  local entries = {}
  for entry in string.gmatch(list, '[^;]+') do
    local kind, measure, amount, at, width, count, name =
      string.match(entry, '^(%a),(%a),(%d+),(%d+),(%w+),(%d+),(.+)$')
    entries[#entries + 1] = {
      kind = kind, measure = measure, amount = tonumber(amount), at = at, width = width,
      count = tonumber(count), name = name,
    }
  end
  return {used = used, tenant = tenant, entries = entries, note = note}
end

local function packed(record)
  local list = {}
  for i, e in ipairs(record.entries) do
    list[i] = table.concat({e.kind, e.measure, text(e.amount), e.at, e.width, e.count, e.name}, ',')
  end
  local used = text(record.used.t) .. ',' .. text(record.used.m)
  return table.concat({used, record.tenant, table.concat(list, ';'), record.note}, '|')
end
