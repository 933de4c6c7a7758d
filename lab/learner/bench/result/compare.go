package result

import (
	"encoding/json"
	"os"
	"time"
)

// A Comparison is what lab compare has measured.
type Comparison struct {
	Started    time.Time   `json:"started"`
	Machine    Machine     `json:"machine"`
	Situations []Situation `json:"situations"`
}

// A Situation is the same clients for each of the stages.
type Situation struct {
	Name    string    `json:"name"`
	Text    string    `json:"text"` // what the clients do
	Clients int       `json:"clients"`
	Seconds float64   `json:"seconds"`
	Rows    []Outcome `json:"rows"`
}

// An Outcome is a stage in a situation.
type Outcome struct {
	Stage   int     `json:"stage"`
	Served  int     `json:"served"` // clients that got a response
	Rate    float64 `json:"rate"`   // responses per second
	P99     float64 `json:"p99"`    // µs; 0 without any response
	Bound   bool    `json:"bound"`  // P99 is a lower bound
	Threads int     `json:"threads"`
	Memory  int64   `json:"memory"` // resident, in bytes
	Remark  string  `json:"remark"` // one line about this row
}

// Slowest formats P99.
func (o Outcome) Slowest() string {
	switch {
	case o.P99 == 0:
		return "no response"
	case o.Bound:
		return "> " + Latency(o.P99)
	}
	return Latency(o.P99)
}

// Write writes the comparison as JSON.
func (c *Comparison) Write(path string) error {
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}
