-- wrk: a body of 1 KiB with each request.
wrk.method = "POST"
wrk.body = string.rep("x", 1024)
