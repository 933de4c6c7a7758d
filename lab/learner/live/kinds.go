package live

import "strings"

// A kind of client is what a button adds.
type kind struct {
	id     string
	button string // the text of the button
	words  string // what the client does, for the list of clients
	count  int    // connections to each stage
	ipv6   bool
	small  bool   // has a small receive buffer
	first  string // the bytes that it sends at once
	silent string // its state when it has sent everything and expects nothing
	reads  bool   // reads from the beginning
	step   string // the text of the button that sends it on, or ""
	then   string // the bytes that it sends on
	again  bool   // may be sent on more than once
	unread string // its state while it expects an answer but does not read, or ""
}

const (
	smallFile, largeFile = "small.txt", "large.bin"
	// largeSize is the size of largeFile in bytes, more than the kernel's buffers can hold.
	largeSize = 64 << 20
	// pipelined is how many requests a client of that kind sends at once.
	pipelined = 5
	// crowd is how many connections the crowd has to each stage.
	crowd = 100
)

// get returns a GET request. With last the server closes the connection after its answer.
func get(path string, last bool) string {
	text := "GET /" + path + " HTTP/1.1\r\nHost: live\r\n"
	if last {
		text += "Connection: close\r\n"
	}
	return text + "\r\n"
}

// half is where the request of the client with half a request is cut.
const half = len("GET /" + smallFile + " HT")

var kinds = []kind{
	{
		id: "quick", button: "quick", words: "asks for a small file and leaves",
		first: get(smallFile, true), reads: true,
	},
	{
		id: "half", button: "half a request", words: "sends half a request",
		first: get(smallFile, true)[:half], silent: "has sent half a request", reads: true,
		step: "now the other half", then: get(smallFile, true)[half:],
	},
	{
		id: "idle", button: "idle", words: "connects and sends nothing",
		silent: "silent", reads: true, step: "send a request", then: get(smallFile, false), again: true,
	},
	{
		id: "unread", button: "asks for 64 MiB, does not read", words: "asks for 64 MiB and does not read",
		first: get(largeFile, true), small: true, step: "now read", unread: "reads nothing",
	},
	{
		id: "pipeline", button: "5 requests at once", words: "sends 5 requests at once, then reads",
		first: strings.Repeat(get(smallFile, false), pipelined-1) + get(smallFile, true), reads: true,
	},
	{
		id: "crowd", button: "a hundred idle", words: "100 connections that send nothing",
		count: crowd, silent: "silent", reads: true,
	},
	{
		id: "ipv6", button: "IPv6", words: "asks for a small file over IPv6 and leaves",
		ipv6: true, first: get(smallFile, true), reads: true,
	},
}

// kindOf finds a kind by its id, or returns nil.
func kindOf(id string) *kind {
	for i := range kinds {
		if kinds[i].id == id {
			return &kinds[i]
		}
	}
	return nil
}

// connections returns how many connections a client of this kind has to each stage.
func (k *kind) connections() int { return max(k.count, 1) }

// requests returns how many requests some bytes complete.
func requests(sent string) int { return strings.Count(sent, "\r\n\r\n") }
