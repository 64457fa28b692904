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

-- The shard's clock is a hash: now = the last instant by which anything counted, since = when the
-- shard's data began, epoch = a number that tells these data from any before them, quiet = until
-- when nothing is admitted because not all processes may have put back what data before these held.
--
-- Time never runs backwards, because a window that was passed would open again; only a clock that
-- had run far ahead is given up (reset = 1), and what leases were promised by it is cut down to a
-- lease from now.
local function clock(key, leases, given, lease)
  local got = redis.call('HMGET', key, 'now', 'epoch', 'since', 'quiet')
  local shard = {now = present(given), reset = 0, epoch = got[2], since = tonumber(got[3])}
  local last = tonumber(got[1] or '0')
  shard.quiet = tonumber(got[4] or '0')
  if not shard.epoch then
    local time = redis.call('TIME')
    shard.epoch, shard.since = time[1] .. string.format('%06d', time[2]), shard.now
    redis.call('HSET', key, 'epoch', shard.epoch, 'since', text(shard.since))
  end
  if last >= shard.now and last <= shard.now + SKEW then
    shard.now = last
    return shard
  end
  redis.call('HSET', key, 'now', text(shard.now))
  if last > shard.now then
    shard.reset, shard.since, shard.quiet = 1, math.min(shard.since, shard.now), 0
    redis.call('HSET', key, 'since', text(shard.since), 'quiet', 0)
    local ends = text(shard.now + lease)
    for _, id in ipairs(redis.call('ZRANGEBYSCORE', leases, '(' .. ends, '+inf')) do
      redis.call('ZADD', leases, ends, id)
    end
  end
  return shard
end

-- Every answer begins with how it went, the instant, whether the clock was given up, the epoch.
local function answer(how, shard, ...)
  return {how, shard.now, shard.reset, tonumber(shard.epoch), ...}
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

local function charge(w, amount, bucket)
  if w.void then redis.call('DEL', w.key) end
  if #w.gone > 0 then redis.call('HDEL', w.key, unpack(w.gone)) end
  w.void, w.gone, w.sum = false, {}, w.sum + amount
  w.oldest = math.min(w.oldest, bucket or w.current)
  redis.call('HINCRBY', w.key, text(bucket or w.current), text(amount))
  redis.call('HSET', w.key, 's', text(w.sum), 'o', text(w.oldest), 'n', text(w.current))
  redis.call('PEXPIRE', w.key, text(math.max((w.count + 2) * w.width, IDLE)))
end

-- Days from 1970 to the first of a month, months being counted from March of the year 0, so that
-- the leap day is the last of its year.
local function first_day(month)
  local year = math.floor(month / 12)
  return year * 365 + math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
    + math.floor((153 * (month % 12) + 2) / 5) - 719468
end

-- The calendar period (UTC) that holds `now`: its number, and when it ends and began.
local function period(unit, now)
  local day = math.floor(now / DAY)
  if unit == 'day' then return day, (day + 1) * DAY, day * DAY end
  local month = math.floor((day + 719468) / 30.436875)
  while first_day(month + 1) <= day do month = month + 1 end
  while first_day(month) > day do month = month - 1 end
  return month, first_day(month + 1) * DAY, first_day(month) * DAY
end

-- What the ledger was found to say, from ARGV[first] on: index of a limit, number of its period,
-- amount, and so on.
local function told(first)
  local seeds = {}
  for a = first, #ARGV, 3 do seeds[ARGV[a] .. ':' .. ARGV[a + 1]] = ARGV[a + 2] end
  return seeds
end

-- Charge a period that is being counted, or begins to be.
local function settle(p, amount, now)
  redis.call('HINCRBY', p.key, 's' .. p.at, text(amount))
  if p.fresh then
    redis.call('HDEL', p.key, 's' .. text(p.number - 2), 'r' .. text(p.number - 2))
    redis.call('PEXPIRE', p.key, text(p.ends - now + DAY))
    p.fresh = false
  end
end

-- A counter of periods is a hash: s<number> = settled, r<number> = reserved. A period without s
-- is fresh, and its counter may have missed a part of it: where the shard's data are younger than
-- the period, and where the period before was not counted either. Such a one begins with what the
-- ledger says; `unseeded` means that it has to be asked.
local function counted(key, i, unit, shard, seeds)
  local number, ends, starts = period(unit, shard.now)
  local at = text(number)
  local got = redis.call('HMGET', key, 's' .. at, 'r' .. at)
  local p = {key = key, number = number, at = at, ends = ends}
  p.settled, p.reserved = tonumber(got[1] or '0'), tonumber(got[2] or '0')
  if got[1] then return p end
  local seed = seeds and seeds[i .. ':' .. at]
  p.fresh = true
  if seed then
    settle(p, seed, shard.now)
    p.settled = tonumber(seed)
  else
    p.unseeded = seeds and (starts < shard.since
      or redis.call('HEXISTS', key, 's' .. text(number - 1)) == 0)
  end
  return p
end

-- A reservation is stored as tokens,cost,cap|tenant|entry;entry;…|note. First what it was last
-- heard to have used, which is what its owner's death costs; then one entry per limit, which says
-- what was charged where: kind,measure,amount,at,width,count,name.
local function unpacked(record)
  local tokens, cost, cap, tenant, list, note =
    string.match(record, '^(%d+),(%d+),(%d+)|(.-)|(.-)|(.*)$')
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
  return {used = used, cap = tonumber(cap), tenant = tenant, entries = entries, note = note}
end

local function packed(record)
  local list = {}
  for i, e in ipairs(record.entries) do
    list[i] = table.concat(
      {e.kind, e.measure, text(e.amount), e.at, e.width, text(e.count), e.name}, ',')
  end
  local head = table.concat(
    {text(record.used.t), text(record.used.m), text(record.cap)}, ',')
  return table.concat({head, record.tenant, table.concat(list, ';'), record.note}, '|')
end

-- The limits of reserve and restore, from ARGV[first] on, eight arguments each.
local function given(first, keys)
  local limits = {}
  for i = 1, #KEYS - keys do
    local a = first + (i - 1) * 8
    limits[i] = {
      key = KEYS[keys + i], kind = ARGV[a], measure = ARGV[a + 1], fixed = tonumber(ARGV[a + 2]),
      each = tonumber(ARGV[a + 3]), limit = tonumber(ARGV[a + 4]), width = ARGV[a + 5],
      count = tonumber(ARGV[a + 6]), name = ARGV[a + 7],
    }
  end
  return limits, first + 8 * #limits
end
