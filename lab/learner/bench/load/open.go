package load

import (
	"context"
	"fmt"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// An OpenLoop makes requests at a constant rate, whether or not the server keeps up.
type OpenLoop struct {
	URL     string
	Rate    int // requests per second
	For     time.Duration
	Timeout time.Duration // of one request, from its start
}

// maxWaiting bounds the requests that wait at the same time, and so the connections and their goroutines.
const maxWaiting = 4000

// An OpenRun is what an OpenLoop has measured.
type OpenRun struct {
	Due     int64 // requests
	Errors  int64 // requests without a good response; Latency has the time until they were given up
	Reason  string
	Latency *hdr.Histogram // nanoseconds from the moment when a request was due to the end of its response
}

// Run makes the requests. The moment when a request is due depends on nothing but its number: a request that starts
// late, because the generator or the machine was busy, has waited too.
func (o OpenLoop) Run(ctx context.Context) (OpenRun, error) {
	attacker := vegeta.NewAttacker(
		vegeta.Timeout(o.Timeout), vegeta.Connections(maxWaiting), vegeta.Workers(64),
		vegeta.MaxWorkers(maxWaiting), vegeta.MaxBody(0), vegeta.Redirects(vegeta.NoFollow),
	)
	stop := context.AfterFunc(ctx, func() { attacker.Stop() })
	defer stop()
	targets := vegeta.NewStaticTargeter(vegeta.Target{Method: "GET", URL: o.URL})
	run := OpenRun{Latency: NewLatency()}
	var start time.Time // of the schedule
	var all []sample
	for r := range attacker.Attack(targets, vegeta.ConstantPacer{Freq: o.Rate, Per: time.Second}, o.For, "") {
		// No request starts before it is due, so the one that is least late shows the schedule of all.
		if began := r.Timestamp.Add(-due(r.Seq, o.Rate)); start.IsZero() || began.Before(start) {
			start = began
		}
		all = append(all, sample{r.Seq, r.Timestamp.Add(r.Latency)})
		run.Due++
		if r.Error != "" {
			run.Errors++
			run.Reason = r.Error
		}
	}
	if err := ctx.Err(); err != nil {
		return OpenRun{}, err
	}
	if start.IsZero() {
		return OpenRun{}, fmt.Errorf("no request to %s started", o.URL)
	}
	for _, s := range all {
		_ = run.Latency.RecordValue(int64(s.latency(start, o.Rate)))
	}
	return run, nil
}

// A sample is the end of a request.
type sample struct {
	number uint64
	end    time.Time
}

// latency is the time from the moment when the request was due to its end.
func (s sample) latency(start time.Time, rate int) time.Duration {
	return s.end.Sub(start.Add(due(s.number, rate)))
}

// due is when a request is due, from the start of the schedule.
func due(number uint64, rate int) time.Duration {
	return time.Duration(number) * time.Second / time.Duration(rate)
}
