package bench

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"fourways.example/lab/learner/bench/draw"
	"fourways.example/lab/learner/bench/load"
	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// Compare is `lab compare`.
type Compare struct {
	Each   time.Duration `default:"2500ms" help:"How long each stage is measured in each situation."`
	Conns  int           `default:"10000" placeholder:"N" help:"The number of connections in the last situation."`
	Output string        `short:"o" default:"bin" placeholder:"DIR" help:"The folder for compare.svg and compare.json."`

	out, log io.Writer // for tests; nil is stdout and stderr
}

// A situation is what happens to each of the stages.
type situation struct {
	name, text string
	fast       int // clients that ask for 1 KB again and again, and are measured
	keep       bool
	idle       int // clients that came earlier, and keep their connections without a request
	slow       int // clients that came earlier, and read a large file slowly
}

// situations are the situations in their order.
func situations(many int) []situation {
	return []situation{
		{name: "Fast clients", text: "20 clients ask for a small file again and again, half of them over IPv6.", fast: 20},
		{name: "100 idle clients beside them", text: "100 others came first, made one request each, and keep their connections open.", fast: 20, idle: 100},
		{name: "Slow readers beside them", text: "20 others came first, and read a large file at 10 KB/s.", fast: 20, slow: 20},
		{name: result.Count(float64(many)) + " connections", text: "Every client keeps its connection, and asks again as soon as it has its answer.", fast: many, keep: true},
	}
}

// Run measures the four stages in each situation, prints a table, and draws the picture.
func (c *Compare) Run(ctx context.Context) error {
	if c.out == nil {
		c.out, c.log = os.Stdout, os.Stderr
	}
	world, err := servers.NewWorld()
	if err != nil {
		return err
	}
	defer world.Close()
	many := min(c.Conns, max(100, world.Files-500))
	all := situations(many)
	p := newProgress(c.log, time.Duration(len(all)*4)*(c.Each+1200*time.Millisecond))
	if many < c.Conns {
		p.note("Only %d connections instead of %d: the limit of open files is %d (ulimit -Hn).", many, c.Conns, world.Files)
	}
	v6 := hasIPv6()
	if !v6 {
		p.note("This machine has no IPv6 on loopback, so all clients use IPv4.")
	}
	fmt.Fprint(c.out, intro)
	cmp := &result.Comparison{Started: time.Now().Round(time.Second), Machine: machine(world)}
	for i, s := range all {
		done := result.Situation{Name: s.name, Text: s.text, Clients: s.fast, Seconds: c.Each.Seconds()}
		for stage := 1; stage <= 4; stage++ {
			p.step("%s: stage %d of 4", s.name, stage)
			o, err := c.measure(ctx, world, s, stage, v6 && !s.keep)
			if err != nil {
				return err
			}
			done.Rows = append(done.Rows, o)
		}
		p.end()
		cmp.Situations = append(cmp.Situations, done)
		if err := print(c.out, i+1, done); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return err
	}
	if err := cmp.Write(filepath.Join(c.Output, "compare.json")); err != nil {
		return err
	}
	picture, err := draw.Comparison(cmp, c.Output)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "\nThe picture is %s; a browser shows it. `make diff-1-2`, `make diff-2-3` and `make diff-3-4` show the code that makes the difference.\n", picture)
	return err
}

// intro explains the columns.
const intro = `The same clients visit each of the four stages.

  served      how many of the clients got an answer at all
  p99         99 of 100 requests are answered within this time; the slowest one takes longer
  answers/s   how many answers the server gave in each second
  threads     how many threads the server has
  memory      how much memory the server uses
`

// print prints the table of a situation.
func print(out io.Writer, n int, s result.Situation) error {
	fmt.Fprintf(out, "\n%d. %s\n   %s\n\n", n, s.Name, s.Text)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "  \tserved\tp99\tanswers/s\tthreads\tmemory\t")
	for _, o := range s.Rows {
		fmt.Fprintf(w, "  stage %d\t%s of %s\t%s\t%s\t%d\t%.0f MB\t%s\n", o.Stage, result.Count(float64(o.Served)), result.Count(float64(s.Clients)),
			o.Slowest(), result.Count(o.Rate), o.Threads, float64(o.Memory)/1e6, o.Remark)
	}
	return w.Flush()
}

// hasIPv6 reports whether clients can use ::1.
func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// measure starts a stage, lets the other clients come first, and then measures the fast ones.
func (c *Compare) measure(ctx context.Context, world *servers.World, s situation, stage int, v6 bool) (result.Outcome, error) {
	o := result.Outcome{Stage: stage}
	r, err := world.Start(ctx, fmt.Sprintf("stage%d", stage))
	if err != nil {
		return o, err
	}
	defer world.Stop(r)
	e, err := load.New()
	if err != nil {
		return o, err
	}
	defer e.Close()
	small, large := workloads[0].request(), (&workload{path: "/2250k.wad"}).request()
	if s.idle > 0 {
		e.Add(load.Group{Addr: r.AddrPort(), Clients: s.idle, Request: small, Once: true})
	}
	if s.slow > 0 {
		e.Add(load.Group{Addr: r.AddrPort(), Clients: s.slow, Request: large, BytesPerSecond: 10_000})
	}
	if s.idle+s.slow > 0 { // all of them connect within some milliseconds
		if err := e.Run(ctx, 400*time.Millisecond, nil); err != nil {
			return o, err
		}
	}
	fast := load.Group{Addr: r.AddrPort(), Clients: s.fast, Request: small, PerConn: 10}
	if s.keep {
		fast.PerConn = 0
	}
	groups := []int{}
	if v6 {
		fast.Clients /= 2
		other := fast
		other.Addr = r.AddrPort6()
		groups = append(groups, e.Add(other))
	}
	groups = append(groups, e.Add(fast))
	if s.keep { // what ten thousand clients need to connect is not the latency of their requests
		m := meter{ready: 4 * time.Second}
		if err := m.warm(ctx, e, groups[0], s.fast); err != nil {
			return o, err
		}
	}
	e.Reset()
	if err := e.Run(ctx, c.Each, nil); err != nil {
		return o, err
	}
	o.Threads, o.Memory = servers.Threads(r.Pids()), servers.RSS(r.Pids())
	all := load.NewLatency()
	var waiting, answered int64
	for _, g := range groups {
		got := e.Counts(g)
		o.Served += got.Served
		answered += got.Responses
		waiting += got.Unanswered
		all.Merge(got.Latency)
	}
	o.Rate = result.Round(float64(answered) / c.Each.Seconds())
	if answered > 0 {
		o.P99 = quantile(all, 99)
		o.Bound = float64(waiting) > 0.01*float64(all.TotalCount())
	}
	o.Remark = remark(s, o, v6)
	return o, nil
}

// remark explains a row in one line. It goes by what was measured.
func remark(s situation, o result.Outcome, v6 bool) string {
	everyone := o.Served >= s.fast*99/100
	half := v6 && o.Served == s.fast/2
	switch {
	case everyone && o.Stage == 4:
		return "each thread waits for all of its connections at once, so nobody waits for somebody else"
	case everyone && o.Stage == 1:
		return "serves one connection after the other; each is short, so all get their turn"
	case everyone:
		return "a thread for each connection, 64 at most, and there are fewer clients than that"
	case half && o.Stage == 1:
		return "serves one connection after the other, and only over IPv4: half of the clients cannot connect"
	case half && o.Stage == 2:
		return "has threads enough, but listens only on IPv4: half of the clients cannot connect"
	case o.Stage == 1 && s.slow > 0:
		return "waits for one slow reader, and all others wait with it"
	case o.Stage == 1 && s.idle > 0:
		return "waits for an idle client to say something, for up to 5 s, and all others wait with it"
	case o.Stage == 1:
		return "serves the first client as long as it stays; all others wait"
	case o.Stage < 4 && s.idle > 0:
		return "all 64 threads wait for idle clients, for up to 5 s each, so nobody is left for the others"
	case o.Stage < 4:
		return "serves as many clients as it has threads, 64; the others wait until one leaves"
	}
	return "has not reached all clients in this time"
}
