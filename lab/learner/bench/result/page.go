package result

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A Picture is a file beside the page, and what it shows.
type Picture struct{ File, Title, Text string }

// Page returns the page of the report in Markdown. It has nothing that is not in the report.
func (r *Report) Page(pictures []Picture) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# What the servers cost")
	p("")
	p("`lab bench` made this page and its pictures from [%s.json](%s.json). `make bench` measures again.", r.ID, r.ID)
	p("")
	r.warn(p)
	if len(pictures) > 0 {
		picture(p, pictures[0])
	}
	r.about(p)
	r.goals(p)
	r.losses(p)
	if len(pictures) > 1 {
		p("## Pictures")
		p("")
		for _, pic := range pictures[1:] {
			picture(p, pic)
		}
	}
	r.loops(p)
	r.workloads(p)
	r.growth(p)
	r.memory(p)
	r.calls(p)
	p("%s", limits)
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func picture(p func(string, ...any), pic Picture) {
	p("![%s](%s)", pic.Title, pic.File)
	p("")
	p("%s", pic.Text)
	p("")
}

// warn says at the top why the figures mean little, if they do.
func (r *Report) warn(p func(string, ...any)) {
	if r.Machine.Busy() {
		p("**The machine was busy: its load average was %.1f when the run began. These figures show what the pages and", r.Machine.Load)
		p("pictures look like, and nothing about the servers.**")
		p("")
	}
	if r.Quick {
		p("**This was a quick run, with one round and short measurements.** It shows whether something works.")
		p("")
	}
}

func (r *Report) about(p func(string, ...any)) {
	m := r.Machine
	p("## What was measured")
	p("")
	p("- The run began on %s and took %.0f minutes: `%s`.", r.Started.Format("2 January 2006, 15:04"), max(1, r.Seconds/60), r.Command)
	p("- Machine: %s, %d CPUs, %s MB of memory, %s, %s. Clients and servers share its CPUs, and use loopback.",
		m.CPU, m.CPUs, Count(float64(m.MemoryMB)), m.Kernel, m.Go)
	g := "our own generator: one thread with an epoll set"
	if r.Generator.Wrk != "" {
		g = r.Generator.Wrk + " with one thread for requests/s and CPU time, and our own generator, one thread with an epoll set, for latency and for the number of connections that were served"
	}
	p("- A closed loop made the requests of the workloads: %s. The column *by* says which one gave requests/s and CPU time.", g)
	if r.Generator.OwnCPU > 0 {
		text := fmt.Sprintf("- With small1k our own generator used %s µs of CPU time for each request", Digits(r.Generator.OwnCPU))
		if r.Generator.WrkCPU > 0 {
			text += fmt.Sprintf(", and wrk %s µs", Digits(r.Generator.WrkCPU))
		}
		p("%s; one thread of ours makes at most about %s requests/s.", text, Count(r.Generator.OwnRate))
	}
	p("- All servers ran all the time, and runs rotated over them. The figures are medians of %s, with the quartiles in", r.rounds())
	p("  parentheses. A server that did not serve all connections in the first round was measured in every third one only, and so")
	p("  was latency, except where a goal needs it. *%s ÷ it* is the CPU time for each request of %s divided by that of the server in the row,", r.Label(r.Base), r.Label(r.Base))
	p("  in pairs of runs from the same round: below 1, %s uses less.", r.Label(r.Base))
	p("- CPU time is that of the whole server, all processes and threads, as the scheduler counts it (schedstat in /proc).")
	p("- The access log is off in all servers, and the folder is the same. The servers in Go run without GOMAXPROCS and GOGC: as")
	p("  many threads run at the same time as there are CPUs. nginx has a worker for each CPU, and h2o and the floor have a thread.")
	p("")
	p("| server | version | how it was started |")
	p("|---|---|---|")
	for _, s := range r.Servers {
		if s.Missing != "" {
			p("| %s | – | left out: %s |", s.Label, s.Missing)
			continue
		}
		p("| %s | %s | %s |", s.Label, s.Version, s.Note)
	}
	p("")
}

// rounds says how many rounds there were.
func (r *Report) rounds() string {
	n := 0
	for _, c := range r.Cells {
		for _, s := range c.Samples {
			n = max(n, s.Round)
		}
	}
	if n == 1 {
		return "one round"
	}
	return fmt.Sprintf("up to %d rounds", n)
}

func (r *Report) losses(p func(string, ...any)) {
	p("## Where %s loses", r.Label(r.Base))
	p("")
	if len(r.Cells) == 0 {
		p("The workloads were not measured.")
		p("")
		return
	}
	all := r.Losses()
	if len(all) == 0 {
		p("In no workload was another server that served all its connections better in requests per second, CPU time or p99.")
		p("")
		return
	}
	p("In these workloads another server was better. The ratio is %s divided by the other server, in pairs of runs from", r.Label(r.Base))
	p("the same round. Servers that did not serve all connections are not compared.")
	p("")
	p("| workload | server | figure | ratio |")
	p("|---|---|---|---|")
	for _, l := range all {
		p("| %s | %s | %s | %s |", l.Workload, l.Server, l.What, spread(l.Ratio, ratio))
	}
	p("")
}

// loops tells what the experiment with the stall shows.
func (r *Report) loops(p func(string, ...any)) {
	if s := r.Stall; s != nil {
		at := func(o Open, percentile float64) string { return Latency(o.At(percentile)) }
		p("## Two ways to measure latency")
		p("")
		p("%s was stopped once for %.0f s, in a run of %.0f s. In the *closed loop* each of %d clients waits for its response", r.Label(s.Server), s.Stall, s.Closed.Seconds, s.Conns)
		p("before it sends the next request. While the server stands still it makes no requests, so only %d of %s", s.Conns, Count(float64(s.Closed.Due)))
		p("responses are late. In the *open loop* requests are due %d times a second, whatever the server does, as if each", s.Open.Rate)
		p("came from another user. All that were due during the stall are late, and latency counts from the moment")
		p("when a request was due.")
		p("")
		p("| | p50 | p90 | p99 | p99.9 | max | failed |")
		p("|---|---|---|---|---|---|---|")
		p("| closed loop | %s | %s | %s | %s | %s | %s |", at(s.Closed, 50), at(s.Closed, 90), at(s.Closed, 99), at(s.Closed, 99.9), at(s.Closed, 100), Count(float64(s.Closed.Errors)))
		p("| open loop | %s | %s | %s | %s | %s | %s |", at(s.Open, 50), at(s.Open, 90), at(s.Open, 99), at(s.Open, 99.9), at(s.Open, 100), Count(float64(s.Open.Errors)))
		p("")
	}
	if len(r.Open) == 0 {
		return
	}
	o := r.Open[0]
	p("## Latency at a constant rate")
	p("")
	p("%d requests a second for 1 KB, in one run of %.0f s for each server, in the open loop. A failed request counts with the time until it was given up.", o.Rate, o.Seconds)
	p("")
	p("| server | p50 | p90 | p99 | p99.9 | max | failed |")
	p("|---|---|---|---|---|---|---|")
	for _, o := range r.Open {
		failed := fmt.Sprintf("%s of %s", Count(float64(o.Errors)), Count(float64(o.Due)))
		p("| %s | %s | %s | %s | %s | %s | %s |", r.Label(o.Server), Latency(o.At(50)), Latency(o.At(90)), Latency(o.At(99)), Latency(o.At(99.9)), Latency(o.At(100)), failed)
	}
	p("")
}

// At returns the latency at one of Percentiles in µs.
func (o Open) At(percentile float64) float64 {
	for i, p := range Percentiles {
		if p == percentile && i < len(o.Latency) {
			return o.Latency[i]
		}
	}
	return 0
}

func (r *Report) workloads(p func(string, ...any)) {
	if len(r.Cells) == 0 {
		return
	}
	p("## The workloads")
	p("")
	p("The latency is that of answered requests. A request that waited during a whole run counts with the length of its wait,")
	p("and *>* marks a figure that would be larger with a longer run. *Served* is how many connections got a response at all.")
	p("")
	for _, w := range r.Workloads {
		p("### %s", w.Name)
		p("")
		p("%s.", strings.ToUpper(w.Help[:1])+w.Help[1:])
		p("")
		p("| server | requests/s | MB/s | CPU µs | %s ÷ it | p50 | p90 | p99 | max | served | errors | by |", r.Label(r.Base))
		p("|---|---|---|---|---|---|---|---|---|---|---|---|")
		for _, row := range r.Table(w.Name) {
			p("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |", row.Label, row.Rate, row.MB, row.CPU, row.Ratio,
				row.P50, row.P90, row.P99, row.Max, row.Served, row.Errors, row.By)
		}
		p("")
	}
}

// growth shows what a hundred times as many connections cost.
func (r *Report) growth(p func(string, ...any)) {
	var rows []string
	for _, s := range r.Servers {
		g := r.Growth(s.Name)
		if g.N == 0 {
			continue
		}
		c := r.Cell(growthTo, s.Name)
		if !c.ServedAll() {
			n, _ := c.Served()
			rows = append(rows, fmt.Sprintf("| %s | – | served only %s connections, as many as it has threads |", s.Label, Count(float64(n))))
			continue
		}
		rows = append(rows, fmt.Sprintf("| %s | %s | |", s.Label, spread(g, ratio)))
	}
	if len(rows) == 0 {
		return
	}
	p("## From 100 to 10,000 active connections")
	p("")
	p("The CPU time for each request in active10k, divided by that in active100. The two runs of a pair follow each other.")
	p("")
	p("| server | times its own cost | |")
	p("|---|---|---|")
	p("%s", strings.Join(rows, "\n"))
	p("")
}

// goals shows which goals hold.
func (r *Report) goals(p func(string, ...any)) {
	all := r.Goals()
	if !slices.ContainsFunc(all, func(g Goal) bool { return g.Measured.N > 0 }) {
		return
	}
	p("## The goals")
	p("")
	p("A goal is a bound on the median of the ratios, in pairs of runs from the same round.")
	p("")
	p("| figure | goal | measured | holds | |")
	p("|---|---|---|---|---|")
	for _, g := range all {
		p("| %s | %s | %s | %s | %s |", g.Text, g.Want(), g.Got(), g.Answer(), g.Note)
	}
	p("")
	if s := r.Limited(); s != "" {
		p("%s", s)
		p("")
	}
}

func ratio(x float64) string { return fmt.Sprintf("%.2f", x) }

// calls shows system calls and sleeps for each request.
func (r *Report) calls(p func(string, ...any)) {
	if len(r.Calls) == 0 {
		return
	}
	p("## System calls and sleeps for each request")
	p("")
	p("The system calls were counted with %s in runs of their own, with our own generator. A sleep is a thread that gives up its", r.Calls[0].By)
	p("CPU to wait (a voluntary context switch). Sleeps were counted in the runs of the workloads, which nothing slows down.")
	p("")
	for _, w := range r.Workloads {
		var rows []string
		for _, c := range r.Calls {
			if c.Workload != w.Name {
				continue
			}
			sleeps := none
			if cell := r.Cell(w.Name, c.Server); cell != nil {
				sleeps = spread(Sleeps.Summary(cell.Throughput()), few)
			}
			rows = append(rows, fmt.Sprintf("| %s | %s | %s | %s |", r.Label(c.Server), few(c.Total), sleeps, c.names()))
		}
		if rows == nil {
			continue
		}
		p("### %s: system calls", w.Name)
		p("")
		p("| server | calls | sleeps | most of the calls |")
		p("|---|---|---|---|")
		p("%s", strings.Join(rows, "\n"))
		p("")
	}
}

// few formats a small number.
func few(x float64) string {
	if x < 0.1 {
		return fmt.Sprintf("%.3f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// names lists the calls, the most frequent ones first.
func (c *Calls) names() string {
	names := slices.SortedFunc(maps.Keys(c.Each), func(a, b string) int {
		return cmp.Or(cmp.Compare(c.Each[b], c.Each[a]), strings.Compare(a, b))
	})
	var all []string
	for _, name := range names {
		all = append(all, name+" "+few(c.Each[name]))
	}
	return strings.Join(all, ", ")
}

func (r *Report) memory(p func(string, ...any)) {
	if len(r.Memory) == 0 {
		return
	}
	p("## Memory of idle connections")
	p("")
	p("Each server was started afresh. %s clients sent one request each and kept their connections. The table shows how much the", Count(float64(r.Memory[0].Of)))
	p("resident memory of all processes of the server (VmRSS) grew. Memory of the kernel for the sockets is not in it.")
	p("")
	p("| server | before, MB | grown by, MB | bytes for each connection | served |")
	p("|---|---|---|---|---|")
	for _, m := range r.Memory {
		grown := Summarize(m.Grown)
		p("| %s | %.1f | %s | %s | %s of %s |", r.Label(m.Server), m.Base/1e6,
			spread(grown, func(x float64) string { return fmt.Sprintf("%.1f", x/1e6) }), short(m.PerConn(), Count), Count(float64(m.Served)), Count(float64(m.Of)))
	}
	p("")
}

// limits is the same for every report.
const limits = `## What the method cannot show

- Clients and servers share the CPUs. A server that uses less leaves more for the clients, so requests/s show the sum of
  both; CPU time for each request is the better figure for a server. On a network, other things matter.
- Loopback has no delay and loses no packets. It says nothing about slow or distant clients; ` + "`make compare`" + ` does.
- All files are in the page cache. No server waits for a disk.
- A closed loop asks as fast as the server answers. Its latencies are those of a saturated server, and it makes fewer requests
  while the server is slow; the section about the two ways to measure latency shows by how much that misleads.
- The peers do less or more than the stages: other checks of a request, other header fields in a response. nginx and h2o have
  defaults that were changed only where they would end a connection during a run. A login without a token is a fixed text in
  nginx and a file of two bytes in h2o, which can make no other response without a script.
- No configuration of nginx is the best one for every file: with sendfile it makes more system calls for 1 KB, and without sendfile
  it copies large files. small1k shows both; the goals compare with sendfile on.
- A thread that ends takes its CPU time with it. None of these servers ends threads under load.
- The scheduler decides on which CPU a thread runs. With two CPUs the cost of a request has more than one mode, so
  a single run means nothing, and differences within the quartiles mean nothing either.
- The stages listen on all addresses of the machine, the peers only on loopback.
`
