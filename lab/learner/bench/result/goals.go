package result

import (
	"fmt"
	"slices"
	"strings"
)

// A Goal is a bound on a figure of the stages, and what the report says about it.
type Goal struct {
	Text     string  // "small1k, CPU: stage 4 ÷ C floor"
	AtLeast  bool    // Bound is a lower bound
	Strict   bool    // the bound itself does not hold
	Bound    float64 // as a ratio, or in Unit
	Unit     string  // "" for a ratio
	Measured Summary // N is 0 if the report does not have the figure
	Note     string
}

// Holds reports whether the median keeps the bound.
func (g *Goal) Holds() bool {
	switch m := g.Measured.Median; {
	case g.Measured.N == 0:
		return false
	case g.AtLeast:
		return m >= g.Bound
	case g.Strict:
		return m < g.Bound
	default:
		return m <= g.Bound
	}
}

// Want formats the bound.
func (g *Goal) Want() string {
	sign := "≤"
	if g.AtLeast {
		sign = "≥"
	} else if g.Strict {
		sign = "<"
	}
	return strings.TrimSpace(fmt.Sprintf("%s %.2f %s", sign, g.Bound, g.Unit))
}

// Got formats the median with its quartiles.
func (g *Goal) Got() string {
	got := spread(g.Measured, func(x float64) string { return fmt.Sprintf("%.2f", x) })
	if g.Measured.N == 0 {
		return "not measured"
	}
	return strings.TrimSpace(got + " " + g.Unit)
}

// Answer is yes, no, or "–" if the figure was not measured.
func (g *Goal) Answer() string {
	switch {
	case g.Measured.N == 0:
		return none
	case g.Holds():
		return "yes"
	}
	return "no"
}

// A bound is a goal that is a ratio between two servers in one workload.
type bound struct {
	workload, server, peer string
	figure                 string // a key of figures
	bound                  float64
	atLeast                bool
}

// figures are the figures of goals. The second one is true if the figure comes from our own generator.
var figures = map[string]struct {
	figure Figure
	own    bool
}{"CPU": {CPU, false}, "requests/s": {Rate, false}, "p99": {P99, true}}

// bounds are the goals of stage 4 that compare it with another server.
var bounds = []bound{
	{"small1k", "stage4", "floor", "CPU", 1.12, false},
	{"small1k", "stage4", "h2o", "CPU", 1, false},
	{"small1k", "stage4", "nginx", "CPU", 0.70, false},
	{"login40", "stage4", "floor", "CPU", 1.12, false},
	{"login40", "stage4", "nginx", "CPU", 1, false},
	{"login500", "stage4", "floor", "CPU", 1.12, false},
	{"login500", "stage4", "nginx", "CPU", 1, false},
	{"wwwcsvt100", "stage4", "nginx", "CPU", 0.95, false},
	{"doom100", "stage4", "nginx", "requests/s", 1, true},
	{"doom100", "stage4", "nginx", "p99", 1, false},
	{"churn", "stage4", "nginx", "CPU", 1, false},
	{"churn", "stage4-defer", "h2o", "CPU", 1.1, false},
	{"pipelined16", "stage4", "fasthttp", "CPU", 0.8, false},
}

const (
	growthBound = 1.1 // of stage 4, divided by the growth of the floor
	memoryBound = 2.5 // MB, for idle connections
	growthFrom  = "active100"
	growthTo    = "active10k"
)

// threaded are the stages that are compared with net/http while they have a worker for each connection, and the
// workloads with few enough connections.
var threaded, fewConns = []string{"stage2", "stage3"}, []string{"login40", "doom100"}

// NeedsOwn reports whether a goal needs the runs of our own generator for this workload and server, so that they are
// worth measuring in every round.
func NeedsOwn(workload, server string) bool {
	if slices.Contains(fewConns, workload) && (slices.Contains(threaded, server) || server == "nethttp") {
		return true
	}
	if workload == growthFrom || workload == growthTo {
		return server == "stage4" || server == "floor"
	}
	return slices.ContainsFunc(bounds, func(b bound) bool {
		return figures[b.figure].own && b.workload == workload && (b.server == server || b.peer == server)
	})
}

// Goals compares the report with the goals.
func (r *Report) Goals() []Goal {
	var all []Goal
	for _, b := range bounds {
		f := figures[b.figure]
		c, peer := r.Cell(b.workload, b.server), r.Cell(b.workload, b.peer)
		g := Goal{Text: fmt.Sprintf("%s, %s: %s ÷ %s", b.workload, b.figure, r.Label(b.server), r.Label(b.peer)), Bound: b.bound, AtLeast: b.atLeast}
		if f.own {
			g.Measured = f.figure.LatencyRatio(c, peer)
		} else {
			g.Measured = f.figure.Ratio(c, peer)
		}
		all = append(all, g)
	}
	all = append(all, Goal{
		Text:  fmt.Sprintf("CPU at 10,000 active connections, times that at 100: %s ÷ %s", r.Label("stage4"), r.Label("floor")),
		Bound: growthBound, Measured: r.growthRatio("stage4", "floor"), Note: r.growthNote("stage4", "floor"),
	})
	all = append(all, r.memoryGoal())
	for _, server := range threaded {
		all = append(all, r.ahead(server, "CPU"), r.ahead(server, "p99"))
	}
	return all
}

// growthRatio divides the growth of one server by that of another, round by round.
func (r *Report) growthRatio(server, peer string) Summary {
	var ratios []float64
	others := r.growths(peer)
	for round, g := range r.growths(server) {
		if o := others[round]; o != 0 {
			ratios = append(ratios, g/o)
		}
	}
	return Summarize(ratios)
}

// growths returns for each round what the CPU time for a request grew by, from 100 to 10,000 active connections.
func (r *Report) growths(server string) map[int]float64 {
	all := map[int]float64{}
	few, many := r.Cell(growthFrom, server), r.Cell(growthTo, server)
	if few == nil || many == nil {
		return all
	}
	for _, m := range many.Samples {
		for _, f := range few.Samples {
			if f.Round == m.Round && f.Generator == m.Generator && f.CPU != 0 && m.CPU != 0 {
				all[f.Round] = m.CPU / f.CPU
			}
		}
	}
	return all
}

func (r *Report) growthNote(servers ...string) string {
	var all []string
	for _, s := range servers {
		if g := r.Growth(s); g.N > 0 {
			all = append(all, fmt.Sprintf("%s %.2f", r.Label(s), g.Median))
		}
	}
	return strings.Join(all, ", ")
}

func (r *Report) memoryGoal() Goal {
	g := Goal{Text: "Memory that 10,000 idle connections add: " + r.Label("stage4"), Bound: memoryBound, Unit: "MB"}
	for _, m := range r.Memory {
		if m.Server != "stage4" {
			continue
		}
		if m.Of != 10_000 {
			g.Note = fmt.Sprintf("with %s connections", Count(float64(m.Of)))
			continue
		}
		var mb []float64
		for _, b := range m.Grown {
			mb = append(mb, b/1e6)
		}
		g.Measured = Summarize(mb)
	}
	return g
}

// ahead compares a stage with net/http wherever the stage has a worker for each connection. The ratio is that of the
// situation in which the stage does worst.
func (r *Report) ahead(server, figure string) Goal {
	g := Goal{Text: fmt.Sprintf("%s, with a worker for each connection: %s ÷ %s", figure, r.Label(server), r.Label("nethttp")), Bound: 1, Strict: true}
	var worst string
	situations := 0
	compare := func(name string, c, peer *Cell) {
		if c == nil || peer == nil || !c.ServedAll() {
			return
		}
		ratio := CPU.Ratio(c, peer)
		if figure == "p99" {
			ratio = P99.LatencyRatio(c, peer)
		}
		if ratio.N == 0 {
			return
		}
		situations++
		if g.Measured.N == 0 || ratio.Median > g.Measured.Median {
			g.Measured, worst = ratio, name
		}
	}
	for _, w := range fewConns {
		compare(w, r.Cell(w, server), r.Cell(w, "nethttp"))
	}
	for _, c := range r.Sweep {
		if c.Server != server {
			continue
		}
		i := slices.IndexFunc(r.Sweep, func(o *Cell) bool { return o.Server == "nethttp" && o.Conns == c.Conns })
		if i >= 0 {
			compare(fmt.Sprintf("1 KB, connections: %s", Count(float64(c.Conns))), c, r.Sweep[i])
		}
	}
	if situations > 0 {
		g.Note = fmt.Sprintf("the worst of %d situations: %s", situations, worst)
	}
	return g
}

// Limited says which stages did not serve all connections of active10k, and how many they served; "" if none.
func (r *Report) Limited() string {
	var all []string
	for _, s := range r.Servers {
		c := r.Cell(growthTo, s.Name)
		if c == nil || c.ServedAll() {
			continue
		}
		if n, ok := c.Served(); ok {
			all = append(all, fmt.Sprintf("%s served %s of %s", s.Label, Count(float64(n)), Count(float64(c.Conns))))
		}
	}
	if all == nil {
		return ""
	}
	return "With 10,000 active connections not every server has a growth: " + strings.Join(all, ", ") + ", as many as it has threads."
}
