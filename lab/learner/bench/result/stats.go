package result

import (
	"maps"
	"math"
	"slices"
)

// A Summary is the median of a number of runs, and the quartiles around it. All are 0 if N is 0.
type Summary struct {
	N              int
	Q1, Median, Q3 float64
}

// Summarize returns the median and the quartiles. Between two values they are interpolated linearly.
func Summarize(values []float64) Summary {
	if len(values) == 0 {
		return Summary{}
	}
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		x := q * float64(len(v)-1)
		i := int(x)
		if i == len(v)-1 {
			return v[i]
		}
		return v[i] + (x-float64(i))*(v[i+1]-v[i])
	}
	return Summary{len(v), at(0.25), at(0.5), at(0.75)}
}

// A Figure is one of the figures of a sample.
type Figure func(s Sample) float64

// The figures. Each is 0 if it was not measured.
var (
	Rate  Figure = func(s Sample) float64 { return s.Rate }
	Bytes Figure = func(s Sample) float64 { return s.Bytes }
	CPU   Figure = func(s Sample) float64 { return s.CPU }
	P50   Figure = func(s Sample) float64 { return s.P50 }
	P90   Figure = func(s Sample) float64 { return s.P90 }
	P99   Figure = func(s Sample) float64 { return s.P99 }
	Max   Figure = func(s Sample) float64 { return s.Max }
	// Sleeps is never exactly 0 for a server that answers more than a few requests.
	Sleeps Figure = func(s Sample) float64 { return s.Sleeps }
)

// by selects the samples of one generator. Throughput and CPU time come from wrk where it was used, because it takes
// less CPU time from the server; latency comes from our own generator where it was used, because it counts the
// requests that got no response.
func (c *Cell) by(first, otherwise string) []Sample {
	for _, name := range []string{first, otherwise} {
		var found []Sample
		for _, s := range c.Samples {
			if s.Generator == name {
				found = append(found, s)
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// Throughput returns the samples from which rates and CPU times are taken.
func (c *Cell) Throughput() []Sample { return c.by("wrk", "own") }

// Latency returns the samples from which latencies and counts of connections are taken.
func (c *Cell) Latency() []Sample { return c.by("own", "wrk") }

// Summary summarizes a figure of samples, without those that did not measure it.
func (f Figure) Summary(samples []Sample) Summary {
	var values []float64
	for _, s := range samples {
		if v := f(s); v != 0 {
			values = append(values, v)
		}
	}
	return Summarize(values)
}

// Ratio summarizes a figure of c divided by that of other, pair by pair: runs of the same round were made within
// seconds of each other, so that what the machine does besides changes both.
func (f Figure) Ratio(c, other *Cell) Summary {
	if c == nil || other == nil {
		return Summary{}
	}
	return f.ratio(c.Throughput(), other.Throughput())
}

// LatencyRatio is Ratio for the figures that [Cell.Latency] has.
func (f Figure) LatencyRatio(c, other *Cell) Summary {
	if c == nil || other == nil {
		return Summary{}
	}
	return f.ratio(c.Latency(), other.Latency())
}

func (f Figure) ratio(samples, others []Sample) Summary {
	var ratios []float64
	for _, s := range samples {
		i := slices.IndexFunc(others, func(o Sample) bool { return o.Round == s.Round && o.Generator == s.Generator })
		if i >= 0 && f(s) != 0 && f(others[i]) != 0 {
			ratios = append(ratios, f(s)/f(others[i]))
		}
	}
	return Summarize(ratios)
}

// Growth summarizes, for one server, the CPU time for each request with 10,000 active connections divided by that with
// 100, in pairs of runs that followed each other.
func (r *Report) Growth(server string) Summary {
	return Summarize(slices.Collect(maps.Values(r.growths(server))))
}

// Served returns how many connections were served at all, in the median, and false if no generator counted them.
func (c *Cell) Served() (int, bool) {
	var all []float64
	for _, s := range c.Samples {
		if s.Generator == "own" {
			all = append(all, float64(s.Served))
		}
	}
	return int(Summarize(all).Median), len(all) > 0
}

// Errors returns how many requests failed in all runs.
func (c *Cell) Errors() (n int64) {
	for _, s := range c.Samples {
		n += s.Errors
	}
	return n
}

// Bound reports whether in most runs more than the share 1−q of the requests got no response, so that the latency at
// the quantile q is only a lower bound.
func (c *Cell) Bound(q float64) bool {
	var late []float64
	for _, s := range c.Latency() {
		late = append(late, s.Late)
	}
	return Summarize(late).Median > 1-q
}

// PerConn summarizes what one idle connection adds, in bytes.
func (m Memory) PerConn() Summary {
	var all []float64
	for _, g := range m.Grown {
		all = append(all, g/float64(m.Of))
	}
	return Summarize(all)
}

// Round rounds to four digits, so that the file does not claim more.
func Round(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
