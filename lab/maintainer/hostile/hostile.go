// Package hostile puts a server under load by clients that cost it as much as they can: silent ones, slow ones, and
// ones that do not read. A normal client asks for a small file meanwhile. It must lose no request, and afterwards the
// server must have no more descriptors and about as much memory as before.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"fourways.example/common/servertest/docroot"
	"fourways.example/common/servertest/kernel"
	"fourways.example/common/servertest/process"
)

// Command is `lab hostile`.
type Command struct {
	Exec    string        `default:"bin/stage4-epoll" placeholder:"PROGRAM" help:"The server: a program with the command line of docs/spec.md."`
	Clients int           `default:"5000" help:"How many hostile clients there are at once."`
	Time    time.Duration `default:"10s" help:"How long each kind of load lasts after its clients have connected."`
	Only    string        `placeholder:"KIND" help:"Apply only one kind of load."`
}

// Run applies one kind of load after another to one server and prints a table. It returns an error if a request of
// the normal client failed, or if the server does not return descriptors or memory.
func (c *Command) Run(ctx context.Context) error {
	path, err := process.Executable(c.Exec)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := docroot.New(dir)
	if err != nil {
		return err
	}
	prog := &process.Program{Path: path, Stage: 4}
	s, err := prog.Begin(process.Config{Root: root.Dir, Flags: []string{"-s"}})
	if err != nil {
		return err
	}
	defer s.Kill()
	results, err := c.apply(ctx, s)
	print(os.Stdout, results)
	for _, r := range results {
		err = errors.Join(err, r.failure())
	}
	if err == nil && len(results) == 0 {
		err = fmt.Errorf("--only: there is no load of the kind %q", c.Only)
	}
	return errors.Join(err, s.Stop())
}

// apply applies the loads and returns their results.
func (c *Command) apply(ctx context.Context, s *process.Server) ([]*result, error) {
	var all []*result
	for _, l := range loads {
		if c.Only != "" && c.Only != l.name {
			continue
		}
		fmt.Fprintf(os.Stderr, "%d clients: %s …\n", c.Clients, l.what)
		r, err := c.one(ctx, s, l)
		if err != nil {
			return all, fmt.Errorf("%s: %w", l.name, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// A result is what one kind of load did to the server and to the normal client.
type result struct {
	load      load
	clients   int // how many hostile clients were connected at once, at most
	normal    latencies
	files     [3]int   // open descriptors before, at most, and after the load
	memory    [3]int64 // RssAnon in bytes, at the same times
	returning time.Duration
}

// calm is how long the server may take to return memory after a load.
const calm = 40 * time.Second

// one applies one kind of load.
func (c *Command) one(ctx context.Context, s *process.Server, l load) (*result, error) {
	r := &result{load: l}
	if err := warmUp(s); err != nil { // opens what the loads ask for, so that the file cache holds it before
		return nil, err
	}
	if !kernel.Eventually(process.Patience, func() bool { return s.Connections() == 0 }) {
		return nil, errors.New("connections are open before the load")
	}
	r.files[0], r.memory[0] = len(s.FDs()), s.Memory("RssAnon")

	ctx, stop := context.WithCancel(ctx)
	defer stop()
	crowd := &crowd{server: s, load: l}
	crowd.start(ctx, c.Clients)
	var normal sync.WaitGroup
	normal.Go(func() { r.normal = ask(ctx, s) })
	if !kernel.Eventually(time.Minute, func() bool { return crowd.open.Load() >= int64(c.Clients) || ctx.Err() != nil }) {
		stop()
		return nil, fmt.Errorf("only %d of %d clients can connect: %v", crowd.open.Load(), c.Clients, crowd.err())
	}
	for end := time.After(c.Time); ctx.Err() == nil; {
		select {
		case <-end:
			stop()
		case <-time.After(100 * time.Millisecond):
			r.clients = max(r.clients, int(crowd.open.Load()))
			r.files[1], r.memory[1] = max(r.files[1], len(s.FDs())), max(r.memory[1], s.Memory("RssAnon"))
		}
	}
	normal.Wait()
	crowd.wait()

	start := time.Now()
	kernel.Eventually(calm, func() bool {
		return s.Connections() == 0 && len(s.FDs()) <= r.files[0] && s.Memory("RssAnon") <= r.allowed()
	})
	r.returning = time.Since(start)
	r.files[2], r.memory[2] = len(s.FDs()), s.Memory("RssAnon")
	return r, nil
}

// allowed returns how much memory the server may have after the load. Go does not return the memory in which it
// manages a large heap, which is 1 to 2 % of the heap.
func (r *result) allowed() int64 {
	return max(2*r.memory[0], r.memory[0]+(r.memory[1]-r.memory[0])/16)
}

// failure returns an error if the load did harm.
func (r *result) failure() error {
	var errs []error
	if r.normal.failed > 0 {
		errs = append(errs, fmt.Errorf("%s: the normal client lost %d of %d requests; the first one: %w",
			r.load.name, r.normal.failed, r.normal.count(), r.normal.first))
	}
	if r.files[2] > r.files[0] {
		errs = append(errs, fmt.Errorf("%s: %d descriptors are open %v after the load, %d were before", r.load.name, r.files[2], calm, r.files[0]))
	}
	if r.memory[2] > r.allowed() {
		errs = append(errs, fmt.Errorf("%s: RssAnon is %d kB %v after the load; it was %d kB before, and may be %d kB",
			r.load.name, r.memory[2]>>10, calm, r.memory[0]>>10, r.allowed()>>10))
	}
	return errors.Join(errs...)
}

// print prints the results as a Markdown table.
func print(w io.Writer, results []*result) {
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	defer t.Flush()
	fmt.Fprintln(t, "| load\t| clients\t| requests\t| failed\t| p50\t| p99\t| max\t| descriptors before, most, after\t| RssAnon in kB before, most, after\t| back within\t|")
	fmt.Fprintln(t, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for _, r := range results {
		fmt.Fprintf(t, "| %s\t| %d\t| %d\t| %d\t| %v\t| %v\t| %v\t| %d, %d, %d\t| %d, %d, %d\t| %v\t|\n",
			r.load.what, r.clients, r.normal.count(), r.normal.failed, r.normal.at(0.5), r.normal.at(0.99), r.normal.at(1),
			r.files[0], r.files[1], r.files[2], r.memory[0]>>10, r.memory[1]>>10, r.memory[2]>>10, r.returning.Round(100*time.Millisecond))
	}
}
