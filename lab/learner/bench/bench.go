// Package bench measures the four stages and other servers side by side.
//
// All servers run all the time, and runs of one second rotate over them: what else the machine does changes with
// the minutes, and so falls on all of them alike. The CPU time of a server comes from the scheduler. The figures of
// a table are medians with quartiles, and the comparisons are ratios of runs from the same round.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fourways.example/lab/learner/bench/draw"
	"fourways.example/lab/learner/bench/load"
	"fourways.example/lab/learner/bench/result"
	"fourways.example/lab/learner/bench/servers"
)

// Command is `lab bench`.
type Command struct {
	List      bool          `short:"l" help:"List the workloads and the servers."`
	Quick     bool          `help:"Measure less, in two minutes: to see whether something works, not how fast it is."`
	Workload  []string      `short:"w" placeholder:"NAME" help:"Measure only this workload. The flag may be repeated."`
	Server    []string      `short:"s" placeholder:"NAME" help:"Measure only this server. The flag may be repeated."`
	Only      []string      `placeholder:"SECTION" enum:"workloads,sweep,memory,calls,open,stall" help:"Measure only this section: workloads, sweep, memory, calls, open or stall. The flag may be repeated."`
	Base      string        `default:"stage4" placeholder:"NAME" help:"The server to which the others are compared."`
	Generator string        `default:"auto" enum:"auto,own,wrk" help:"What makes the requests of the workloads: own, wrk, or auto, which takes wrk for the throughput if it is installed."`
	Budget    time.Duration `default:"24m" help:"Begin no further round after this time."`
	Each      time.Duration `default:"1s" help:"The time of one measurement. wrk takes whole seconds."`
	Conns     int           `placeholder:"N" help:"Use this number of connections in each workload instead of its own."`
	Output    string        `short:"o" default:"docs/bench" placeholder:"DIR" help:"The folder for the figures, the page and the pictures."`
	Page      string        `placeholder:"FILE" help:"Only draw the page and the pictures of these figures again."`
	Goals     []string      `placeholder:"FILE" help:"Only compare these figures with the goals. The flag may be repeated: a goal should hold in each of several runs."`

	out, log io.Writer // for tests; nil is stdout and stderr
}

// quickWorkloads are what --quick measures.
var quickWorkloads = []string{"small1k", "login40", "wwwcsvt100", "churn", "pipelined16"}

// AfterApply is called by kong. It is the place for defaults that depend on other flags.
func (c *Command) AfterApply() error {
	if c.Quick {
		c.Budget = min(c.Budget, 110*time.Second)
		c.Each = min(c.Each, 300*time.Millisecond)
		if c.Generator == "auto" {
			c.Generator = "own" // wrk needs a second for each run
		}
		if len(c.Workload) == 0 {
			c.Workload = quickWorkloads
		}
	}
	return nil
}

// Run measures, writes the figures, and prints a table.
func (c *Command) Run(ctx context.Context) error {
	if c.out == nil {
		c.out, c.log = os.Stdout, os.Stderr
	}
	switch {
	case c.List:
		return list(c.out)
	case len(c.Goals) > 0:
		return readGoals(c.out, c.Goals)
	case c.Page != "":
		r, err := result.Read(c.Page)
		if err != nil {
			return err
		}
		return publish(r, c.Output)
	}
	b, err := c.begin(ctx)
	if err != nil {
		return err
	}
	defer b.world.Close()
	if err := b.measure(ctx); err != nil {
		return err
	}
	r := b.report
	r.Seconds = result.Round(time.Since(r.Started).Seconds())
	if err := os.MkdirAll(c.Output, 0o755); err != nil {
		return err
	}
	path := name(c.Output, r)
	if err := r.Write(path); err != nil {
		return err
	}
	if err := publish(r, c.Output); err != nil {
		return err
	}
	if err := show(c.out, r); err != nil {
		return err
	}
	if err := showGoals(c.out, r); err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.out, "\nThe figures are in %s, the page is %s.\n", path, filepath.Join(c.Output, "README.md"))
	return err
}

// name chooses the ID of a report and the name of its file: the date, and a number if the date is taken.
func name(dir string, r *result.Report) string {
	r.ID = r.Started.Format(time.DateOnly)
	for n := 2; ; n++ {
		path := filepath.Join(dir, r.ID+".json")
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return path
		}
		r.ID = fmt.Sprintf("%s-%d", r.Started.Format(time.DateOnly), n)
	}
}

// publish writes the page and the pictures.
func publish(r *result.Report, dir string) error {
	pictures, err := draw.Report(r, dir)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(r.Page(pictures)), 0o644)
}

// list prints the workloads and the servers.
func list(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WORKLOAD\tWHAT THE CLIENTS DO")
	for _, l := range workloads {
		fmt.Fprintf(w, "%s\t%s\n", l.name, l.help)
	}
	fmt.Fprintln(w, "\nSERVER\tHOW IT IS STARTED")
	for _, k := range servers.Kinds {
		fmt.Fprintf(w, "%s\t%s\n", k.Name, k.Note)
	}
	return w.Flush()
}

// show prints what matters most of each workload.
func show(out io.Writer, r *result.Report) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, info := range r.Workloads {
		fmt.Fprintf(w, "\n%s: %s\n", info.Name, info.Help)
		fmt.Fprintf(w, "server\trequests/s\tCPU µs\t%s ÷ it\tp50\tp99\tserved\terrors\t\n", r.Label(r.Base))
		for _, row := range r.Table(info.Name) {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", row.Label, row.Rate, row.CPU, row.Ratio, row.P50, row.P99, row.Served, row.Errors)
		}
	}
	return w.Flush()
}

// readGoals prints the goals of several reports side by side.
func readGoals(out io.Writer, files []string) error {
	var reports []*result.Report
	for _, f := range files {
		r, err := result.Read(f)
		if err != nil {
			return err
		}
		reports = append(reports, r)
	}
	return showGoals(out, reports...)
}

// showGoals prints each goal, the figure of each report, and in how many of them the goal holds.
func showGoals(out io.Writer, reports ...*result.Report) error {
	var runs [][]result.Goal
	for _, r := range reports {
		runs = append(runs, r.Goals())
	}
	if !slices.ContainsFunc(slices.Concat(runs...), func(g result.Goal) bool { return g.Measured.N > 0 }) {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nGOAL\t\tMEASURED%s\tHOLDS\t\n", strings.Repeat("\t", len(runs)-1))
	for i, g := range runs[0] {
		fmt.Fprintf(w, "%s\t%s", g.Text, g.Want())
		holds, measured := 0, 0
		for _, run := range runs {
			fmt.Fprintf(w, "\t%s", run[i].Got())
			if run[i].Measured.N > 0 {
				measured++
			}
			if run[i].Holds() {
				holds++
			}
		}
		answer := g.Answer()
		if len(runs) > 1 && measured > 0 {
			answer = fmt.Sprintf("%d of %d", holds, measured)
		}
		fmt.Fprintf(w, "\t%s\t%s\n", answer, g.Note)
	}
	for _, r := range reports[:1] {
		if s := r.Limited(); s != "" {
			fmt.Fprintln(w, s)
		}
	}
	return w.Flush()
}

// begin starts the servers.
func (c *Command) begin(ctx context.Context) (*bench, error) {
	chosen, err := selectWorkloads(c.Workload)
	if err != nil {
		return nil, err
	}
	world, err := servers.NewWorld()
	if err != nil {
		return nil, err
	}
	b := &bench{cmd: c, world: world, chosen: chosen, progress: newProgress(c.log, c.Budget)}
	b.report = &result.Report{
		Started: time.Now().Round(time.Second), Quick: c.Quick, Command: commandLine(os.Args),
		Machine: machine(world), Base: c.Base,
	}
	for i := range b.chosen {
		w := &b.chosen[i]
		if c.Conns > 0 {
			w.conns, w.idle = c.Conns, min(w.idle, c.Conns)
		}
		if w.fit(world.Files) {
			b.progress.note("%s: %d connections, because the limit of open files is %d (ulimit -Hn)", w.name, w.total(), world.Files)
		}
		b.report.Workloads = append(b.report.Workloads, result.Info{Name: w.name, Help: w.help})
	}
	err = b.prepare(ctx)
	if err != nil {
		world.Close()
		return nil, err
	}
	return b, nil
}

// prepare looks for wrk, and starts the servers.
func (b *bench) prepare(ctx context.Context) error {
	c := b.cmd
	b.meter = meter{run: c.Each, ready: 5 * time.Second}
	if c.Generator != "own" {
		var err error
		if b.meter.wrk, err = load.FindWrk(b.world.Dir()); err != nil {
			return err
		}
		if b.meter.wrk == nil && c.Generator == "wrk" {
			return errors.New("wrk is not installed; apt-get install wrk, or take --generator own")
		}
	}
	if b.meter.wrk != nil {
		b.report.Generator.Wrk = b.meter.wrk.Version
	} else if c.Generator == "auto" {
		b.progress.note("wrk is not installed: our own generator makes all requests")
	}
	return b.start(ctx)
}
