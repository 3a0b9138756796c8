-- wrk: 16 requests at a time.
local batch

function init(args)
  batch = string.rep(wrk.format(), 16)
end

function request()
  return batch
end
