package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"

	"fourways.example/lab/learner/bench/load"
	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// A meter measures one server under one workload.
type meter struct {
	wrk   *load.Wrk     // nil if it is not to be used
	run   time.Duration // of one measurement
	ready time.Duration // the longest wait until all connections are served once
}

// check makes one request. A server that answers anything but 200 and the right number of bytes has no figures.
func check(ctx context.Context, r *servers.Running, w *workload) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", r.URL(w.path), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != 200 || n != int64(w.size):
		return fmt.Errorf("GET %s: status %d and %d bytes, want 200 and %d bytes", w.path, resp.StatusCode, n, w.size)
	case w.size == 2 && resp.Header.Get("Content-Type") != "application/json":
		return fmt.Errorf("GET %s: Content-Type %q, want application/json", w.path, resp.Header.Get("Content-Type"))
	}
	return nil
}

// byWrk measures with wrk.
func (m *meter) byWrk(ctx context.Context, r *servers.Running, w *workload) (result.Sample, error) {
	r.Settle(ctx, 3*time.Second)
	pids := r.Pids()
	sleeps, before := servers.Sleeps(pids), servers.CPU(pids)
	seconds := int(max(m.run, time.Second) / time.Second)
	run, err := m.wrk.Run(ctx, r.URL(w.path), w.conns, seconds, max(1, w.batch), w.perConn == 1)
	if err != nil {
		return result.Sample{}, err
	}
	used := servers.CPU(pids) - before
	s := sample("wrk", run.Responses, run.Bytes, run.Elapsed, used, run.CPU)
	s.Sleeps = each(servers.Sleeps(pids)-sleeps, run.Responses)
	s.Errors = run.Errors
	if run.Responses > 0 {
		s.P50, s.P90, s.P99, s.Max = us(run.P50), us(run.P90), us(run.P99), us(run.Max)
	}
	return s, nil
}

// sample computes the figures for each response.
func sample(by string, responses, bytes int64, elapsed, server, generator time.Duration) result.Sample {
	s := result.Sample{Generator: by, Responses: responses}
	if responses > 0 {
		n := float64(responses)
		s.Rate = result.Round(n / elapsed.Seconds())
		s.Bytes = result.Round(float64(bytes) / elapsed.Seconds())
		s.CPU = result.Round(us(server) / n)
		s.GenCPU = result.Round(us(generator) / n)
	}
	return s
}

// each divides a count by the number of responses.
func each(n, responses int64) float64 { return result.Round(float64(n) / float64(max(responses, 1))) }

// us converts to microseconds.
func us(d time.Duration) float64 { return result.Round(float64(d) / 1e3) }

// byOwn measures with our own closed loop.
func (m *meter) byOwn(ctx context.Context, r *servers.Running, w *workload) (result.Sample, error) {
	return m.own(ctx, r, w, func(_ []int, run func() error) error { return run() })
}

// own is byOwn; around calls run, which measures the processes, once all clients are connected.
func (m *meter) own(ctx context.Context, r *servers.Running, w *workload, around func(pids []int, run func() error) error) (result.Sample, error) {
	r.Settle(ctx, 3*time.Second)
	pids := r.Pids()
	e, err := load.New()
	if err != nil {
		return result.Sample{}, err
	}
	defer e.Close()
	served := 0
	if w.idle > 0 {
		idle := e.Add(load.Group{Addr: r.AddrPort(), Clients: w.idle, Request: w.request(), Once: true})
		if err := m.warm(ctx, e, idle, w.idle); err != nil {
			return result.Sample{}, err
		}
		served = e.Progress(idle)
	}
	busy := e.Add(load.Group{Addr: r.AddrPort(), Clients: w.conns, Request: w.request(), Batch: w.batch, PerConn: w.perConn})
	if err := m.warm(ctx, e, busy, w.conns); err != nil {
		return result.Sample{}, err
	}
	var s result.Sample
	err = around(pids, func() error {
		e.Reset()
		sleeps, start, before, cpu := servers.Sleeps(pids), time.Now(), servers.CPU(pids), selfCPU()
		if err := e.Run(ctx, m.run, nil); err != nil {
			return err
		}
		elapsed, used, own := time.Since(start), servers.CPU(pids)-before, selfCPU()-cpu
		c := e.Counts(busy)
		s = sample("own", c.Responses, c.Bytes, elapsed, used, own)
		s.Sleeps = each(servers.Sleeps(pids)-sleeps, c.Responses)
		s.Served, s.Errors, s.LastError = c.Served+served, c.Errors, c.LastError
		s.Threads = servers.Threads(pids)
		latency(&s, c)
		return nil
	})
	return s, err
}

// calls counts the system calls for each response.
func (m *meter) calls(ctx context.Context, t *servers.Tracer, r *servers.Running, w *workload) (result.Calls, error) {
	c := result.Calls{Server: r.Name, Workload: w.name, By: t.Name, Each: map[string]float64{}}
	var counted map[string]int64
	s, err := m.own(ctx, r, w, func(pids []int, run func() error) (err error) {
		counted, err = t.Count(ctx, pids, run)
		return err
	})
	if err != nil || s.Responses == 0 {
		return c, err
	}
	for name, n := range counted {
		switch x := each(n, s.Responses); {
		case name == "":
			c.Total = x
		case x >= rare:
			c.Each[name] = x
		}
	}
	return c, nil
}

// rare is the number of calls for each response below which a table does not name the call.
const rare = 0.01

// warm runs until every client of the group was served once, or none was for longer than the kernel waits before it
// repeats a SYN.
func (m *meter) warm(ctx context.Context, e *load.Engine, group, clients int) error {
	last, since := -1, time.Now()
	return e.Run(ctx, m.ready, func() bool {
		served := e.Progress(group)
		if served != last {
			last, since = served, time.Now()
		}
		return served >= clients || time.Since(since) > 1200*time.Millisecond
	})
}

// memory measures how much a server that has just been started grows while clients are idle.
func (m *meter) memory(ctx context.Context, r *servers.Running, w *workload) (grown float64, base float64, served int, err error) {
	if err := check(ctx, r, w); err != nil { // the first request may make what later ones share
		return 0, 0, 0, err
	}
	e, err := load.New()
	if err != nil {
		return 0, 0, 0, err
	}
	defer e.Close()
	pids := r.Pids()
	before := servers.RSS(pids)
	idle := e.Add(load.Group{Addr: r.AddrPort(), Clients: w.idle, Request: w.request(), Once: true})
	if err := m.warm(ctx, e, idle, w.idle); err != nil {
		return 0, 0, 0, err
	}
	return float64(servers.RSS(pids) - before), float64(before), e.Progress(idle), nil
}

// latency fills in the percentiles. Requests without a response count with their age.
func latency(s *result.Sample, c load.Counts) {
	if n := c.Latency.TotalCount(); n > 0 {
		s.P50, s.P90, s.P99 = quantile(c.Latency, 50), quantile(c.Latency, 90), quantile(c.Latency, 99)
		s.Max = quantile(c.Latency, 100)
		s.Late = result.Round(float64(c.Unanswered) / float64(n))
	}
}

// quantile returns a percentile in µs.
func quantile(h *hdr.Histogram, percentile float64) float64 {
	return result.Round(float64(h.ValueAtQuantile(percentile)) / 1e3)
}

// selfCPU is the CPU time of this process, which does nothing but run the engine while it measures.
func selfCPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
