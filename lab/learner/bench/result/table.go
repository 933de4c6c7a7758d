package result

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A Row is a server in the table of a workload, formatted for people. A figure that was not measured is "–".
type Row struct {
	Label, Rate, MB, CPU, Ratio, P50, P90, P99, Max, Served, Errors, By string
}

// none stands for a figure that was not measured.
const none = "–"

// Table returns the rows of a workload in the order of the servers.
func (r *Report) Table(workload string) []Row {
	var rows []Row
	base := r.Cell(workload, r.Base)
	for _, s := range r.Servers {
		c := r.Cell(workload, s.Name)
		if c == nil {
			continue
		}
		if c.Problem != "" {
			rows = append(rows, Row{s.Label, none, none, none, none, none, none, none, none, none, "not measured: " + c.Problem, none})
			continue
		}
		rows = append(rows, r.row(s, c, base))
	}
	return rows
}

func (r *Report) row(s Server, c, base *Cell) Row {
	row := Row{Label: s.Label, Errors: Count(float64(c.Errors()))}
	row.Rate = spread(Rate.Summary(c.Throughput()), Count)
	mb := func(x float64) string { return Count(x / 1e6) }
	row.MB = short(Bytes.Summary(c.Throughput()), mb)
	row.CPU = spread(CPU.Summary(c.Throughput()), Digits)
	row.Ratio = none
	if s.Name != r.Base {
		row.Ratio = spread(CPU.Ratio(base, c), ratio)
	}
	for to, f := range map[*string]struct {
		figure Figure
		q      float64
	}{&row.P50: {P50, 0.5}, &row.P90: {P90, 0.9}, &row.P99: {P99, 0.99}, &row.Max: {Max, 1}} {
		*to = short(f.figure.Summary(c.Latency()), Latency)
		if *to != none && c.Bound(f.q) {
			*to = "> " + *to
		}
	}
	row.Served = none
	if n, ok := c.Served(); ok {
		row.Served = fmt.Sprintf("%s of %s", Count(float64(n)), Count(float64(c.Conns)))
	}
	if t := c.Throughput(); len(t) > 0 {
		row.By = t[0].Generator
	}
	return row
}

// spread formats a median with its quartiles.
func spread(s Summary, format func(float64) string) string {
	switch {
	case s.N == 0:
		return none
	case s.N < 3:
		return format(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", format(s.Median), format(s.Q1), format(s.Q3))
}

func short(s Summary, format func(float64) string) string {
	if s.N == 0 {
		return none
	}
	return format(s.Median)
}

// Count formats a whole number with a comma after each three digits.
func Count(x float64) string {
	s := strconv.FormatInt(int64(math.Round(x)), 10)
	var out strings.Builder
	for i, d := range s {
		if i > 0 && (len(s)-i)%3 == 0 && s[i-1] != '-' {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return out.String()
}

// Digits formats with three digits.
func Digits(x float64) string {
	switch {
	case x >= 100:
		return Count(x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// Latency formats a time in µs.
func Latency(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.2f s", us/1e6)
	case us >= 1e5:
		return fmt.Sprintf("%.0f ms", us/1e3)
	case us >= 1e3:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g µs", us)
}

// A Loss is a workload in which another server is better than the base.
type Loss struct {
	Workload, Server, What string
	Ratio                  Summary // of the base to the other server
}

// Losses returns where the base is worse: the quartiles of the paired ratios are on the same side of 1, or
// with fewer than three rounds the median is off by a twentieth. Servers that have not served all their
// connections are left out, because fewer clients make each of them faster; so is the floor, which is no server.
func (r *Report) Losses() []Loss {
	var all []Loss
	for _, w := range r.Workloads {
		base := r.Cell(w.Name, r.Base)
		if base == nil || !base.ServedAll() {
			continue
		}
		for _, s := range r.Servers {
			c := r.Cell(w.Name, s.Name)
			if c == nil || s.Name == r.Base || s.Name == "floor" || !c.ServedAll() {
				continue
			}
			rate := Rate.Ratio(base, c)
			if worse(Summary{rate.N, 1 / rate.Q3, 1 / rate.Median, 1 / rate.Q1}) {
				all = append(all, Loss{w.Name, s.Label, "requests per second", rate})
			}
			if cpu := CPU.Ratio(base, c); worse(cpu) {
				all = append(all, Loss{w.Name, s.Label, "CPU time per request", cpu})
			}
			if p99 := P99.LatencyRatio(base, c); worse(p99) {
				all = append(all, Loss{w.Name, s.Label, "p99 latency", p99})
			}
		}
	}
	return all
}

// worse reports whether a ratio, of a figure that should be small, is clearly above 1.
func worse(s Summary) bool {
	if s.N < 3 {
		return s.N > 0 && s.Median > 1.05
	}
	return s.Q1 > 1
}

// ServedAll reports whether every connection was served, as far as anybody has counted them.
func (c *Cell) ServedAll() bool {
	n, counted := c.Served()
	return c.Problem == "" && (!counted || n >= c.Conns*99/100)
}
