// Package result has the figures of a run of lab bench, what can be computed from them, and the page that shows them.
//
// A file holds every run of a second as it was measured. Medians, ratios, tables and pictures are made from the file,
// so that they cannot differ from it.
package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// A Report is all that one call of lab bench has measured.
type Report struct {
	ID        string    `json:"id"` // the date, and a number if there is more than one on a day
	Started   time.Time `json:"started"`
	Quick     bool      `json:"quick"`
	Command   string    `json:"command"`
	Machine   Machine   `json:"machine"`
	Generator Generator `json:"generator"`
	Base      string    `json:"base"` // the server to which the others are compared
	Servers   []Server  `json:"servers"`
	Workloads []Info    `json:"workloads"`
	Cells     []*Cell   `json:"cells"`           // a cell for each workload and server
	Calls     []Calls   `json:"calls,omitempty"` // system calls for each request
	Sweep     []*Cell   `json:"sweep"`           // small1k with more and more connections
	Memory    []Memory  `json:"memory"`          // of connections that are idle
	Open      []Open    `json:"open"`            // at a constant rate
	Stall     *Stall    `json:"stall,omitempty"` // closed and open loop, and a server that stops for a second
	Seconds   float64   `json:"seconds"`         // the time that all of it took
}

// A Machine is what the figures depend on.
type Machine struct {
	Kernel   string  `json:"kernel"`
	CPU      string  `json:"cpu"`
	CPUs     int     `json:"cpus"`
	MemoryMB int64   `json:"memoryMB"`
	Go       string  `json:"go"`
	Files    int     `json:"files"` // RLIMIT_NOFILE
	Load     float64 `json:"load"`  // the load average of the last minute before the start
}

// Busy reports whether other programs used the machine, so that the figures mean little.
func (m Machine) Busy() bool { return m.Load > 0.5*float64(m.CPUs) }

// A Generator says which program made the requests.
type Generator struct {
	Wrk string `json:"wrk,omitempty"` // its version; empty if it was not used
	// OwnCPU and WrkCPU are the CPU time of the generator for each request, in µs, with small1k and the base.
	OwnCPU float64 `json:"ownCPU,omitempty"`
	WrkCPU float64 `json:"wrkCPU,omitempty"`
	// OwnRate is how many requests per second the own generator makes at most, one thread against the fastest server.
	OwnRate float64 `json:"ownRate,omitempty"`
}

// A Server is one of the servers, or a missing one.
type Server struct {
	Name    string `json:"name"`
	Label   string `json:"label"`
	Version string `json:"version,omitempty"`
	Note    string `json:"note,omitempty"`
	Missing string `json:"missing,omitempty"` // why it was not measured
}

// Info describes a workload.
type Info struct {
	Name string `json:"name"`
	Help string `json:"help"`
}

// A Cell is one server under one workload.
type Cell struct {
	Workload string   `json:"workload"`
	Server   string   `json:"server"`
	Conns    int      `json:"conns"`
	Problem  string   `json:"problem,omitempty"` // why it was not measured
	Samples  []Sample `json:"samples,omitempty"`
}

// A Sample is one run. A figure that was not measured is 0, and its key is not in the file.
type Sample struct {
	Round     int     `json:"round"`
	Generator string  `json:"by"` // "wrk" or "own"
	Responses int64   `json:"n"`
	Rate      float64 `json:"rate,omitempty"`  // responses per second
	Bytes     float64 `json:"bytes,omitempty"` // per second
	CPU       float64 `json:"cpu,omitempty"`   // of the server for each response, in µs
	GenCPU    float64 `json:"gen,omitempty"`   // of the generator for each response, in µs
	// Sleeps is how often a thread of the server gave up its CPU to wait, for each response: voluntary context switches.
	Sleeps float64 `json:"sleeps,omitempty"`
	P50    float64 `json:"p50,omitempty"` // the latency in µs
	P90    float64 `json:"p90,omitempty"`
	P99    float64 `json:"p99,omitempty"`
	Max    float64 `json:"max,omitempty"`
	// Late is the share of the requests that waited during the whole run and had no response at its end. If it is more
	// than 0.01, P99 is only a lower bound: such a request counts with its age. wrk does not know the share.
	Late      float64 `json:"late,omitempty"`
	Served    int     `json:"served,omitempty"` // connections that got a response; only from the own generator
	Errors    int64   `json:"errors,omitempty"`
	LastError string  `json:"error,omitempty"`
	Threads   int     `json:"threads,omitempty"`
}

// Calls is how many system calls a server makes for each response of a workload. They are counted in a run of their own,
// because counting costs time.
type Calls struct {
	Server   string             `json:"server"`
	Workload string             `json:"workload"`
	By       string             `json:"by"` // the program that counted: perf or strace
	Total    float64            `json:"total"`
	Each     map[string]float64 `json:"each"` // by the name of the call; without the rare ones
}

// A Memory is how much a fresh server has grown when its clients are idle after one request each.
type Memory struct {
	Server string    `json:"server"`
	Of     int       `json:"of"`              // clients
	Served int       `json:"served"`          // clients that got a response, in the first run
	Base   float64   `json:"base"`            // RSS in bytes before the clients came, in the first run
	Grown  []float64 `json:"grown,omitempty"` // bytes, in each run; empty if not every client was served
}

// An Open is a server at a constant rate.
type Open struct {
	Server  string  `json:"server"`
	Rate    int     `json:"rate"` // requests per second
	Seconds float64 `json:"seconds"`
	Due     int64   `json:"due"`
	Errors  int64   `json:"errors,omitempty"`
	Reason  string  `json:"reason,omitempty"` // of one of the errors
	// Latency is the latency in µs at each of Percentiles.
	Latency []float64 `json:"latency"`
}

// Percentiles are the points of a curve of latencies.
var Percentiles = []float64{1, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100}

// A Stall is the same server in both loops, stopped once for a second.
type Stall struct {
	Server string  `json:"server"`
	Stall  float64 `json:"stallSeconds"`
	Conns  int     `json:"conns"`
	Closed Open    `json:"closed"` // Rate is the rate that the closed loop reached
	Open   Open    `json:"open"`
}

// Label returns the label of a server.
func (r *Report) Label(name string) string {
	for _, s := range r.Servers {
		if s.Name == name {
			return s.Label
		}
	}
	return name
}

// Cell returns the cell of a workload and a server, or nil.
func (r *Report) Cell(workload, server string) *Cell {
	for _, c := range r.Cells {
		if c.Workload == workload && c.Server == server {
			return c
		}
	}
	return nil
}

// Write writes the report with one line for each cell.
func (r *Report) Write(path string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b = bytes.ReplaceAll(b, []byte(`{"workload":`), []byte("\n"+`{"workload":`))
	b = bytes.ReplaceAll(b, []byte(`{"server":`), []byte("\n"+`{"server":`))
	for _, key := range []string{"machine", "generator", "servers", "workloads", "cells", "calls", "sweep", "memory", "open", "stall"} {
		b = bytes.Replace(b, []byte(`,"`+key+`":`), []byte(",\n"+`"`+key+`":`), 1)
	}
	return os.WriteFile(path, append(b, '\n'), 0o644)
}

// Read reads a report.
func Read(path string) (*Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}
