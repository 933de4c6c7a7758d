package result

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestSummarize compares medians and quartiles with values computed by hand.
func TestSummarize(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   Summary
	}{
		{nil, Summary{}},
		{[]float64{7}, Summary{1, 7, 7, 7}},
		{[]float64{2, 1}, Summary{2, 1.25, 1.5, 1.75}},
		{[]float64{5, 1, 3, 2, 4}, Summary{5, 2, 3, 4}},
		{[]float64{1, 2, 3, 4}, Summary{4, 1.75, 2.5, 3.25}},
	} {
		if got := Summarize(tt.values); got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.values, got, tt.want)
		}
	}
}

func cell(server, by string, cpu ...float64) *Cell {
	c := &Cell{Workload: "w", Server: server, Conns: 10}
	for i, v := range cpu {
		c.Samples = append(c.Samples, Sample{Round: i + 1, Generator: by, CPU: v, Rate: 1e6 / max(v, 1), Served: 10})
	}
	return c
}

// TestRatio checks that ratios are taken within a round: here every round is twice as slow as the one before, and the
// ratio is always 2.
func TestRatio(t *testing.T) {
	a, b := cell("a", "own", 2, 4, 8), cell("b", "own", 1, 2, 4)
	if got := CPU.Ratio(a, b); got != (Summary{3, 2, 2, 2}) {
		t.Errorf("%+v, want 2 in three rounds", got)
	}
	b.Samples[1].CPU = 0 // was not measured
	if got := CPU.Ratio(a, b); got.N != 2 {
		t.Errorf("%+v, want two pairs without the round that was not measured", got)
	}
	if got := CPU.Ratio(a, cell("b", "wrk", 1, 2, 4)); got.N != 0 {
		t.Errorf("%+v, want no pair of runs by two generators", got)
	}
	if got := CPU.Ratio(a, nil); got.N != 0 {
		t.Errorf("%+v, want no ratio to a server that was not measured", got)
	}
}

// TestGenerators checks that rates come from wrk and latencies from our own generator if both were used.
func TestGenerators(t *testing.T) {
	c := cell("a", "own", 1)
	c.Samples = append(c.Samples, cell("a", "wrk", 2).Samples...)
	if got := c.Throughput(); len(got) != 1 || got[0].Generator != "wrk" {
		t.Errorf("throughput from %+v", got)
	}
	if got := c.Latency(); len(got) != 1 || got[0].Generator != "own" {
		t.Errorf("latency from %+v", got)
	}
	if _, counted := cell("a", "wrk", 1).Served(); counted {
		t.Error("wrk cannot count the connections that were served")
	}
}

// TestLosses checks which servers count as better.
func TestLosses(t *testing.T) {
	few := cell("few", "own", 1, 1, 1)
	for i := range few.Samples {
		few.Samples[i].Served = 3
	}
	r := Report{
		Base: "base", Workloads: []Info{{Name: "w"}},
		Servers: []Server{{Name: "base"}, {Name: "better", Label: "better"}, {Name: "worse"}, {Name: "unclear"}, {Name: "few"}, {Name: "floor"}, {Name: "absent"}},
		Cells: []*Cell{
			cell("base", "own", 10, 10, 10), cell("better", "own", 8, 9, 8), cell("worse", "own", 12, 13, 14),
			cell("unclear", "own", 5, 11, 12), few, cell("floor", "own", 1, 1, 1),
		},
	}
	var got []string
	for _, l := range r.Losses() {
		got = append(got, l.Server+" "+l.What)
	}
	if want := []string{"better requests per second", "better CPU time per request"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestFormat checks how figures are written.
func TestFormat(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Count(999), "999"},
		{Count(1000), "1,000"},
		{Count(1234567.8), "1,234,568"},
		{Latency(12.34), "12.3 µs"},
		{Latency(1234), "1.23 ms"},
		{Latency(123_400), "123 ms"},
		{Latency(1_500_000), "1.50 s"},
		{Digits(6.123), "6.12"},
		{Digits(612.3), "612"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	for x, want := range map[float64]float64{0: 0, 123456: 123500, 0.00123456: 0.001235, math.Inf(1): 0} {
		if got := Round(x); math.Abs(got-want) > 1e-9 {
			t.Errorf("Round(%v) is %v, want %v", x, got, want)
		}
	}
}

// TestWrite checks that a report that is written and read is the same report.
func TestWrite(t *testing.T) {
	r, err := Read("../testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "r.json")
	if err := r.Write(path); err != nil {
		t.Fatal(err)
	}
	again, err := Read(path)
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("%v: the report has changed", err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Count(string(text), "\n") < len(r.Cells) {
		t.Errorf("%v: %d lines, want one for each cell", err, strings.Count(string(text), "\n"))
	}
}

// TestPage checks that the page has a row for each server, also for a missing one, and says what was not measured.
func TestPage(t *testing.T) {
	r, err := Read("../testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	r.Cell("small1k", "nginx").Problem = "status 404"
	page := r.Page([]Picture{{"a.svg", "A title", "About it."}})
	for _, want := range []string{
		"![A title](a.svg)", "The machine was busy", "This was a quick run", "### pipelined16", "| C floor |",
		"left out: this stage 4 has no flag --defer-accept", "not measured: status 404", "1 of 100", "Where stage 4 loses", "| open loop |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not contain %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
}
