package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"fourways.example/lab/learner/bench/load"
	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// A bench is one call of the command.
type bench struct {
	cmd      *Command
	world    *servers.World
	running  []*servers.Running
	chosen   []workload
	meter    meter
	report   *result.Report
	progress *progress
}

// start starts all servers that are to be measured.
func (b *bench) start(ctx context.Context) error {
	for i := range servers.Kinds {
		k := &servers.Kinds[i]
		if len(b.cmd.Server) > 0 && !slices.Contains(b.cmd.Server, k.Name) {
			continue
		}
		b.progress.step("building and starting %s", k.Label)
		r, err := b.world.Start(ctx, k.Name)
		entry := result.Server{Name: k.Name, Label: k.Label, Note: k.Note}
		if missing, ok := errors.AsType[*servers.ErrMissing](err); ok {
			entry.Missing = missing.Error()
			b.progress.note("without %s: %v", k.Label, missing)
		} else if err != nil {
			return err
		} else {
			entry.Version = r.Version
			b.running = append(b.running, r)
		}
		b.report.Servers = append(b.report.Servers, entry)
	}
	for _, name := range b.cmd.Server {
		if !slices.ContainsFunc(servers.Kinds, func(k servers.Kind) bool { return k.Name == name }) {
			return fmt.Errorf("there is no server %q; -l lists them", name)
		}
	}
	if len(b.running) == 0 {
		return errors.New("none of the servers is installed")
	}
	return nil
}

// measure runs all sections. Each has its share of the time, and begins no round after it.
func (b *bench) measure(ctx context.Context) error {
	b.progress.note("%d servers run. At most %s from now, the page is written.", len(b.running), clock(time.Until(b.until(1))))
	rounds, sweepRounds := 24, 3
	if b.cmd.Quick {
		rounds, sweepRounds = 1, 1
	}
	workloadsEnd, sweepEnd := 0.655, 0.89
	if !b.wanted("sweep") {
		workloadsEnd = sweepEnd
	}
	for _, section := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"workloads", b.calibrate},
		{"memory", b.memories},
		{"workloads", func(ctx context.Context) error { return b.workloads(ctx, rounds, b.until(workloadsEnd)) }},
		{"sweep", func(ctx context.Context) error { return b.sweep(ctx, sweepRounds, b.until(sweepEnd)) }},
		{"calls", b.calls},
		{"open", b.open},
		{"stall", b.stall},
	} {
		if !b.wanted(section.name) {
			continue
		}
		if err := section.run(ctx); err != nil {
			return err
		}
	}
	b.progress.end()
	return nil
}

// wanted reports whether a section is to be measured.
func (b *bench) wanted(section string) bool {
	return len(b.cmd.Only) == 0 || slices.Contains(b.cmd.Only, section)
}

// until returns when a share of the time is over.
func (b *bench) until(share float64) time.Time {
	return b.report.Started.Add(time.Duration(share * float64(b.cmd.Budget)))
}

// base is the server to which the others are compared, or the last of the stages that run.
func (b *bench) base() *servers.Running {
	i := slices.IndexFunc(b.running, func(r *servers.Running) bool { return r.Name == b.cmd.Base })
	return b.running[max(i, 0)]
}

// calibrate measures what the generators cost, and how many requests our own one makes at most.
func (b *bench) calibrate(ctx context.Context) error {
	w := &workloads[0]
	if b.cmd.Conns > 0 || w.fit(b.world.Files) {
		return nil
	}
	g := &b.report.Generator
	b.progress.step("what the generators cost")
	s, err := b.meter.byOwn(ctx, b.base(), w)
	if err != nil {
		return err
	}
	g.OwnCPU, g.OwnRate = s.GenCPU, result.Round(1e6/max(s.GenCPU, 0.001))
	if b.meter.wrk == nil {
		return nil
	}
	s, err = b.meter.byWrk(ctx, b.base(), w)
	g.WrkCPU = s.GenCPU
	return err
}

// rotation returns the servers in the order of a round. Each round begins with another one, so that none always
// follows the same neighbour.
func rotation[T any](all []T, round int) []T {
	n := round % len(all)
	return append(slices.Clone(all[n:]), all[:n]...)
}

// workloads measures every workload in every round.
func (b *bench) workloads(ctx context.Context, rounds int, until time.Time) error {
	cells := map[string]*result.Cell{}
	for _, w := range b.chosen {
		for _, r := range b.running {
			if !r.Runs(w.name) {
				continue
			}
			cell := &result.Cell{Workload: w.name, Server: r.Name, Conns: w.total()}
			if err := check(ctx, r, &w); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				cell.Problem = err.Error()
				b.progress.note("%s: %s: %v", w.name, r.Label, err)
			}
			cells[w.name+" "+r.Name] = cell
			b.report.Cells = append(b.report.Cells, cell)
		}
	}
	for round := 1; round <= rounds && (round == 1 || time.Now().Before(until)); round++ {
		for _, turn := range turns(b.chosen) {
			for _, r := range rotation(b.running, round) {
				for _, w := range turn {
					cell := cells[w.name+" "+r.Name]
					if cell == nil || cell.Problem != "" {
						continue
					}
					if round > 1 && time.Now().After(until) {
						return nil
					}
					b.progress.step("round %d: %s, %s", round, w.name, r.Label)
					if err := b.cell(ctx, cell, r, w, round); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}

// cell measures a workload once. Not every round has every measurement: a server that does not serve all connections has
// a turn in every third round, and our own generator measures in every third round where a goal does not need more.
func (b *bench) cell(ctx context.Context, cell *result.Cell, r *servers.Running, w *workload, round int) error {
	wrk := b.meter.wrk != nil && !w.own
	third := round%3 == 1
	all := cell.ServedAll()
	if !all && !third {
		return nil
	}
	if wrk {
		s, err := b.meter.byWrk(ctx, r, w)
		if err != nil {
			return err
		}
		s.Round = round
		cell.Samples = append(cell.Samples, s)
		if b.cmd.Generator == "wrk" {
			return nil
		}
	}
	if !all || !third && (wrk || w.own) && !result.NeedsOwn(w.name, r.Name) {
		return nil
	}
	s, err := b.meter.byOwn(ctx, r, w)
	s.Round = round
	cell.Samples = append(cell.Samples, s)
	return err
}

// countedWorkloads are the workloads whose system calls are counted.
var countedWorkloads = []string{"small1k", "login40", "wwwcsvt100", "doom100", "churn", "pipelined16"}

// calls counts system calls.
func (b *bench) calls(ctx context.Context) error {
	tracer, err := servers.FindTracer(ctx)
	if missing, ok := errors.AsType[*servers.ErrMissing](err); ok {
		b.progress.note("%v", missing)
		return nil
	} else if err != nil {
		return err
	}
	m := b.meter
	m.run = min(m.run, 500*time.Millisecond)
	for i := range b.chosen {
		w := &b.chosen[i]
		if !slices.Contains(countedWorkloads, w.name) || b.cmd.Quick && w.name != "login40" {
			continue
		}
		for _, r := range b.running {
			if !r.Runs(w.name) {
				continue
			}
			b.progress.step("system calls: %s, %s", w.name, r.Label)
			c, err := m.calls(ctx, tracer, r, w)
			if err != nil {
				return err
			}
			if c.Total > 0 {
				b.report.Calls = append(b.report.Calls, c)
			}
		}
	}
	return nil
}

// sweepAt are the numbers of connections of the sweep.
var sweepAt = []int{1, 4, 16, 64, 256, 1000, 4000, 10_000}

// sweep measures small1k with more and more connections, with our own generator.
func (b *bench) sweep(ctx context.Context, rounds int, until time.Time) error {
	points := sweepAt
	if b.cmd.Quick {
		points = []int{1, 64, 10_000}
	}
	cells := map[string]*result.Cell{}
	for round := 1; round <= rounds && (round == 1 || time.Now().Before(until)); round++ {
		for _, conns := range points {
			w := workloads[0]
			if w.conns = conns; w.fit(b.world.Files) || b.cmd.Conns > 0 && conns > b.cmd.Conns {
				continue
			}
			for _, r := range rotation(b.running, round) {
				if !r.Runs("sweep") || round > 1 && time.Now().After(until) {
					continue
				}
				b.progress.step("sweep %d: %d connections, %s", round, conns, r.Label)
				s, err := b.meter.byOwn(ctx, r, &w)
				if err != nil {
					return err
				}
				s.Round = round
				key := fmt.Sprint(r.Name, conns)
				if cells[key] == nil {
					cells[key] = &result.Cell{Workload: "sweep", Server: r.Name, Conns: conns}
					b.report.Sweep = append(b.report.Sweep, cells[key])
				}
				cells[key].Samples = append(cells[key].Samples, s)
			}
		}
	}
	return nil
}

// memories measures the memory of idle connections. Each run has a fresh server: memory that an earlier
// peak of load left would hide what the connections take.
func (b *bench) memories(ctx context.Context) error {
	w := workloads[len(workloads)-1]
	if b.cmd.Conns > 0 {
		w.idle = b.cmd.Conns
	}
	w.fit(b.world.Files)
	runs := 3
	if b.cmd.Quick {
		runs = 1
	}
	for _, r := range b.running {
		if !r.Runs("memory") {
			continue
		}
		m := result.Memory{Server: r.Name, Of: w.idle}
		for run := range runs {
			b.progress.step("memory %d: %d idle connections, %s", run+1, w.idle, r.Label)
			fresh, err := b.world.Start(ctx, r.Name)
			if err != nil {
				return err
			}
			grown, base, served, err := b.meter.memory(ctx, fresh, &w)
			b.world.Stop(fresh)
			if err != nil {
				return err
			}
			if run == 0 {
				m.Served, m.Base = served, base
			}
			if served < w.idle*99/100 {
				break // the others are in the backlog, and cost the kernel's memory only
			}
			m.Grown = append(m.Grown, grown)
		}
		b.report.Memory = append(b.report.Memory, m)
	}
	return nil
}

// open measures latency at a constant rate.
func (b *bench) open(ctx context.Context) error {
	o := load.OpenLoop{Rate: 1000, For: 4 * time.Second, Timeout: 2 * time.Second}
	if b.cmd.Quick {
		o.Rate, o.For, o.Timeout = 500, 600*time.Millisecond, 600*time.Millisecond
	}
	for _, r := range b.running {
		if !r.Runs("open") {
			continue
		}
		b.progress.step("%d requests/s at a constant rate, %s", o.Rate, r.Label)
		r.Settle(ctx, 3*time.Second)
		o.URL = r.URL(workloads[0].path)
		run, err := o.Run(ctx)
		if err != nil {
			return err
		}
		b.report.Open = append(b.report.Open, summary(r.Name, o, run))
	}
	return nil
}

// summary makes the entry of an open loop.
func summary(server string, o load.OpenLoop, run load.OpenRun) result.Open {
	s := result.Open{Server: server, Rate: o.Rate, Seconds: o.For.Seconds(), Due: run.Due, Errors: run.Errors, Reason: run.Reason}
	for _, p := range result.Percentiles {
		s.Latency = append(s.Latency, quantile(run.Latency, p))
	}
	return s
}

// stall measures the base in a closed and in an open loop, and stops it for a second in both.
func (b *bench) stall(ctx context.Context) error {
	r := b.base()
	const conns, length = 10, time.Second
	o := load.OpenLoop{URL: r.URL(workloads[0].path), Rate: 1000, For: 6 * time.Second, Timeout: 10 * time.Second}
	if b.cmd.Quick {
		o.For, o.Rate = 3*time.Second, 500
	}
	stopped := func() chan error {
		done := make(chan error, 1)
		go func() {
			select {
			case <-ctx.Done():
				done <- ctx.Err()
			case <-time.After(o.For / 3):
				done <- r.Stall(ctx, length)
			}
		}()
		return done
	}
	b.progress.step("a stall of a second in a closed loop, %s", r.Label)
	r.Settle(ctx, 3*time.Second)
	e, err := load.New()
	if err != nil {
		return err
	}
	defer e.Close()
	g := e.Add(load.Group{Addr: r.AddrPort(), Clients: conns, Request: workloads[0].request()})
	done := stopped()
	err = errors.Join(e.Run(ctx, o.For, nil), <-done)
	if err != nil {
		return err
	}
	c := e.Counts(g)
	closed := load.OpenRun{Due: c.Responses, Errors: c.Errors, Latency: c.Latency}
	b.progress.step("a stall of a second at a constant rate, %s", r.Label)
	done = stopped()
	run, err := o.Run(ctx)
	if err = errors.Join(err, <-done); err != nil {
		return err
	}
	b.report.Stall = &result.Stall{
		Server: r.Name, Stall: length.Seconds(), Conns: conns,
		Closed: summary(r.Name, load.OpenLoop{Rate: int(float64(c.Responses) / o.For.Seconds()), For: o.For}, closed),
		Open:   summary(r.Name, o, run),
	}
	return nil
}
