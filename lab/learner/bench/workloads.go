package bench

import (
	"fmt"
	"slices"
	"strings"

	"fourways.example/lab/learner/bench/servers"
)

// A workload is what the clients do.
type workload struct {
	name    string
	help    string
	path    string
	size    int // of the body, in bytes
	conns   int // clients that send request after request
	idle    int // clients that send one request, and then keep their connections beside the others
	batch   int // requests that a client sends at once; 0 means 1
	perConn int // requests for each connection; 0 means any number
	own     bool
	pair    bool // each server runs it right after the workload before, so that the two can be compared
}

// workloads are all workloads. Those with 10,000 connections need our own generator (own): wrk does not tell how many
// of them were served.
var workloads = []workload{
	file("small1k", "1k.txt", 100, "a file of 1 KB, 100 connections"),
	login("login40", 40),
	login("login500", 500),
	login("login10k", 10_000),
	file("wwwcsvt100", "66k.csvt", 100, "a page of 66 KB, 100 connections"),
	file("doom100", "2250k.wad", 40, "a file of 2,250 KB, 40 connections"),
	{name: "churn", help: "a new connection for each request, 1 KB, 100 at a time", path: "/1k.txt", size: 1 << 10, conns: 100, perConn: 1},
	{name: "pipelined16", help: "16 requests are sent at once, 1 KB each, 100 connections", path: "/1k.txt", size: 1 << 10, conns: 100, batch: 16},
	{name: "active100", help: "as small1k, by our own generator, right before active10k", path: "/1k.txt", size: 1 << 10, conns: 100, own: true},
	{name: "active10k", help: "a file of 1 KB, 10,000 connections that all send requests", path: "/1k.txt", size: 1 << 10, conns: 10_000, own: true, pair: true},
	{
		name: "idle10k", help: "10,000 connections that are idle after one request, and 100 that ask for 1 KB",
		path: "/1k.txt", size: 1 << 10, conns: 100, idle: 10_000, own: true,
	},
}

func file(name, path string, conns int, help string) workload {
	return workload{name: name, help: help, path: "/" + path, size: servers.Files[path], conns: conns}
}

func login(name string, conns int) workload {
	help := fmt.Sprintf("GET /api/login without a token: {} as JSON, %d connections", conns)
	return workload{name: name, help: help, path: "/api/login", size: 2, conns: conns, own: conns >= 10_000}
}

// request returns what a client sends at once.
func (w *workload) request() []byte {
	fields := "Host: 127.0.0.1\r\n"
	if w.perConn == 1 {
		fields += "Connection: close\r\n"
	}
	one := "GET " + w.path + " HTTP/1.1\r\n" + fields + "\r\n"
	return []byte(strings.Repeat(one, max(1, w.batch)))
}

// total is the number of connections.
func (w *workload) total() int { return w.conns + w.idle }

// fit reduces the connections to what the limit of open files allows, and reports whether that was needed.
func (w *workload) fit(files int) (reduced bool) {
	most := max(1, files-300)
	if w.total() <= most {
		return false
	}
	if w.idle > 0 {
		w.idle = max(0, most-w.conns)
	}
	w.conns = min(w.conns, most)
	return true
}

// turns returns the workloads in groups. In a round each server runs the workloads of a group one after the other.
func turns(all []workload) (groups [][]*workload) {
	for i := range all {
		if n := len(groups); n > 0 && all[i].pair {
			groups[n-1] = append(groups[n-1], &all[i])
		} else {
			groups = append(groups, []*workload{&all[i]})
		}
	}
	return groups
}

// selectWorkloads returns the workloads with these names, or all.
func selectWorkloads(names []string) ([]workload, error) {
	if len(names) == 0 {
		return slices.Clone(workloads), nil
	}
	var found []workload
	for _, name := range names {
		i := slices.IndexFunc(workloads, func(w workload) bool { return w.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no workload %q; -l lists them", name)
		}
		found = append(found, workloads[i])
	}
	return found, nil
}
