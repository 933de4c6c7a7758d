package result

import (
	"strings"
	"testing"
)

// goalReport has stage 4 and its peers, in two rounds.
func goalReport() *Report {
	of := func(workload, server string, conns, served int, samples ...Sample) *Cell {
		for i := range samples {
			samples[i].Round, samples[i].Generator, samples[i].Served = i+1, "own", served
		}
		return &Cell{Workload: workload, Server: server, Conns: conns, Samples: samples}
	}
	s := func(cpu, p99 float64) Sample { return Sample{CPU: cpu, P99: p99, Rate: 1e6 / cpu} }
	return &Report{
		Servers: []Server{{Name: "stage2", Label: "stage 2"}, {Name: "stage4", Label: "stage 4"}, {Name: "floor", Label: "C floor"}, {Name: "stage3", Label: "stage 3"}, {Name: "nethttp", Label: "net/http"}},
		Cells: []*Cell{
			of("small1k", "stage4", 100, 100, s(6, 1), s(12, 1)), of("small1k", "floor", 100, 100, s(5, 1), s(10, 1)),
			of("doom100", "stage4", 40, 40, s(20, 50), s(20, 50)), of("doom100", "nginx", 40, 40, s(40, 40), s(40, 60)),
			of("doom100", "stage2", 40, 40, s(30, 10), s(30, 10)), of("doom100", "nethttp", 40, 40, s(40, 20), s(40, 20)),
			of("login40", "stage2", 40, 20, s(99, 99)), of("login40", "nethttp", 40, 40, s(1, 1)),
			of("active100", "stage4", 100, 100, s(6, 1), s(12, 1)), of("active10k", "stage4", 10000, 10000, s(9, 1), s(18, 1)),
			of("active100", "floor", 100, 100, s(5, 1), s(10, 1)), of("active10k", "floor", 10000, 10000, s(6, 1), s(12, 1)),
			of("active10k", "stage2", 10000, 64, s(6, 1)),
		},
		Sweep: []*Cell{
			of("sweep", "stage2", 16, 16, s(6, 1)), of("sweep", "nethttp", 16, 16, s(5, 2)),
			of("sweep", "stage2", 256, 64, s(9, 9)), of("sweep", "nethttp", 256, 256, s(1, 1)),
		},
		Memory: []Memory{{Server: "stage4", Of: 10_000, Grown: []float64{2.4e6, 2.5e6, 2.6e6}}},
	}
}

// TestGoals compares figures and answers with those computed by hand. A goal without figures is not measured, and
// neither holds nor fails.
func TestGoals(t *testing.T) {
	got := map[string]Goal{}
	for _, g := range goalReport().Goals() {
		if _, twice := got[g.Text]; twice {
			t.Errorf("two goals are called %q", g.Text)
		}
		got[g.Text] = g
	}
	for _, tt := range []struct {
		text           string
		n              int
		median         float64
		answer, inNote string
	}{
		{"small1k, CPU: stage 4 ÷ C floor", 2, 1.2, "no", ""},
		{"small1k, CPU: stage 4 ÷ h2o", 0, 0, "–", ""},
		{"doom100, requests/s: stage 4 ÷ nginx", 2, 2, "yes", ""},
		{"doom100, p99: stage 4 ÷ nginx", 2, (50./40 + 50./60) / 2, "no", ""},
		{"CPU at 10,000 active connections, times that at 100: stage 4 ÷ C floor", 2, 1.25, "no", "stage 4 1.50, C floor 1.20"},
		{"Memory that 10,000 idle connections add: stage 4", 3, 2.5, "yes", ""},
		{"CPU, with a worker for each connection: stage 2 ÷ net/http", 1, 1.2, "no", "the worst of 2 situations: 1 KB, connections: 16"},
		{"p99, with a worker for each connection: stage 2 ÷ net/http", 2, 0.5, "yes", "the worst of 2 situations"},
		{"CPU, with a worker for each connection: stage 3 ÷ net/http", 0, 0, "–", ""},
	} {
		g, ok := got[tt.text]
		if !ok {
			t.Errorf("there is no goal %q", tt.text)
			continue
		}
		if g.Measured.N != tt.n || g.Measured.Median < tt.median-1e-9 || g.Measured.Median > tt.median+1e-9 || g.Answer() != tt.answer || !strings.Contains(g.Note, tt.inNote) {
			t.Errorf("%s: %+v, holds: %s, want the median %v of %d pairs, %s, and the note %q", tt.text, g.Measured, g.Answer(), tt.median, tt.n, tt.answer, tt.inNote)
		}
	}
}

// TestGoalBound checks that a bound itself holds unless it is strict.
func TestGoalBound(t *testing.T) {
	for _, tt := range []struct {
		goal Goal
		want string
	}{
		{Goal{Bound: 1, Measured: Summarize([]float64{1})}, "≤ 1.00 1.00 yes"},
		{Goal{Bound: 1, Strict: true, Measured: Summarize([]float64{1})}, "< 1.00 1.00 no"},
		{Goal{Bound: 1, AtLeast: true, Measured: Summarize([]float64{1})}, "≥ 1.00 1.00 yes"},
		{Goal{Bound: 1, AtLeast: true, Measured: Summarize([]float64{0.99})}, "≥ 1.00 0.99 no"},
		{Goal{Bound: 2.5, Unit: "MB", Measured: Summarize([]float64{2.6})}, "≤ 2.50 MB 2.60 MB no"},
		{Goal{Bound: 1}, "≤ 1.00 not measured –"},
	} {
		if got := tt.goal.Want() + " " + tt.goal.Got() + " " + tt.goal.Answer(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// TestNeedsOwn checks that our own generator measures in every round what the goals need of it.
func TestNeedsOwn(t *testing.T) {
	for _, tt := range []struct {
		workload, server string
		want             bool
	}{
		{"doom100", "stage4", true},
		{"doom100", "nginx", true},
		{"doom100", "h2o", false},
		{"small1k", "stage4", false},
		{"active10k", "floor", true},
		{"active10k", "nginx", false},
		{"login40", "stage3", true},
		{"login40", "nethttp", true},
		{"login500", "nethttp", false},
	} {
		if got := NeedsOwn(tt.workload, tt.server); got != tt.want {
			t.Errorf("%s, %s: %v, want %v", tt.workload, tt.server, got, tt.want)
		}
	}
}

// TestLimited checks the sentence about servers that serve fewer connections than there are.
func TestLimited(t *testing.T) {
	r := goalReport()
	if got := r.Limited(); !strings.Contains(got, "stage 2 served 64 of 10,000") || strings.Contains(got, "stage 4") {
		t.Errorf("%q, want that only stage 2 is limited", got)
	}
	r.Cells = nil
	if got := r.Limited(); got != "" {
		t.Errorf("%q without figures, want nothing", got)
	}
}

// TestGoalsAndCallsPage checks the tables of the goals and of the system calls on the page.
func TestGoalsAndCallsPage(t *testing.T) {
	r := goalReport()
	r.Workloads = []Info{{Name: "small1k", Help: "a file"}}
	r.Calls = []Calls{{Server: "stage4", Workload: "small1k", By: "perf", Total: 2.21, Each: map[string]float64{"sendto": 1, "recvfrom": 1, "epoll_pwait": 0.19}}}
	for i, s := range r.Cells[0].Samples {
		s.Sleeps = 0.25
		r.Cells[0].Samples[i] = s
	}
	page := r.Page(nil)
	for _, want := range []string{
		"| small1k, CPU: stage 4 ÷ C floor | ≤ 1.12 | 1.20 | no |",
		"| stage 4 | 2.21 | 0.25 | recvfrom 1.00, sendto 1.00, epoll_pwait 0.19 |",
		"stage 2 served 64 of 10,000",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not contain %q:\n%s", want, page)
		}
	}
}
