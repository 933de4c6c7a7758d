// Package tape holds what was recorded of one server: the output of strace(1), and what the clients did meanwhile.
//
// A tape is a text. Its first lines begin with "#" and a word; the others are strace's, as strace wrote them:
//
//	# title Stage 1: one connection after the other
//	# port 46015
//	# client 52410 slow
//	# step 1795693726.642283 1795693726.642301 slow|sends a third of its request|
//	# end 1795693726.957283
//	4632 1795693726.942667 recvfrom(13<TCP:[127.0.0.1:46015->127.0.0.1:52410]>, "", 16384, …) = 0 <0.000013>
package tape

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Tape is the recording of one server.
type Tape struct {
	Title   string
	Notes   []string       // sentences for the reader
	Port    int            // the server's; 0 if there were several servers
	Clients map[int]string // the name of each client by its port
	Steps   []Step         // what the clients did, in order of time
	End     time.Duration  // the end of the recording, a time like those of the steps
	Strace  string         // the lines of strace -f -ttt -T -yy
}

// A Step is one action of a client. Times are durations since 1970, as strace -ttt prints them.
type Step struct {
	From, To time.Duration // To is when the client saw the result; it is From if there is none
	Client   string        // "" if the step concerns no client, or several
	Did, Saw string
}

// Read parses the text of a tape.
func Read(text string) (*Tape, error) {
	t := &Tape{Clients: map[int]string{}}
	for {
		line, rest, _ := strings.Cut(text, "\n")
		if !strings.HasPrefix(line, "# ") {
			break
		}
		if err := t.header(strings.TrimPrefix(line, "# ")); err != nil {
			return nil, fmt.Errorf("%w in the line %q", err, line)
		}
		text = rest
	}
	if len(t.Steps) == 0 {
		return nil, fmt.Errorf("this is no tape: it has no line that begins with \"# step\"")
	}
	t.Strace = text
	return t, nil
}

func (t *Tape) header(line string) (err error) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "title":
		t.Title = rest
	case "note":
		t.Notes = append(t.Notes, rest)
	case "port":
		t.Port, err = strconv.Atoi(rest)
	case "client":
		number, name, _ := strings.Cut(rest, " ")
		var port int
		port, err = strconv.Atoi(number)
		t.Clients[port] = name
	case "step":
		err = t.step(rest)
	case "end":
		t.End, err = parseTime(rest)
	default:
		err = fmt.Errorf("unknown word %q", word)
	}
	return err
}

func (t *Tape) step(line string) error {
	f := strings.SplitN(line, " ", 3)
	if len(f) < 3 {
		return fmt.Errorf("no times")
	}
	from, err := parseTime(f[0])
	if err != nil {
		return err
	}
	to, err := parseTime(f[1])
	if err != nil {
		return err
	}
	what := strings.SplitN(f[2], "|", 3)
	if len(what) < 3 {
		return fmt.Errorf("no client, action and result with | between them")
	}
	t.Steps = append(t.Steps, Step{From: from, To: to, Client: what[0], Did: what[1], Saw: what[2]})
	return nil
}

// String returns the text of the tape.
func (t *Tape) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# title %s\n", t.Title)
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "# note %s\n", n)
	}
	fmt.Fprintf(&b, "# port %d\n", t.Port)
	var ports []int
	for port := range t.Clients {
		ports = append(ports, port)
	}
	slices.Sort(ports)
	for _, port := range ports {
		fmt.Fprintf(&b, "# client %d %s\n", port, t.Clients[port])
	}
	clean := strings.NewReplacer("|", "/", "\n", " ")
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "# step %s %s %s|%s|%s\n", formatTime(s.From), formatTime(s.To), s.Client, clean.Replace(s.Did), clean.Replace(s.Saw))
	}
	fmt.Fprintf(&b, "# end %s\n", formatTime(t.End))
	return b.String() + t.Strace
}

// Sort sorts the steps by time.
func (t *Tape) Sort() {
	slices.SortStableFunc(t.Steps, func(a, b Step) int { return cmp.Compare(a.From, b.From) })
}

// Names returns the names of the clients in the order of their first steps.
func (t *Tape) Names() []string {
	var names []string
	for _, s := range t.Steps {
		if s.Client != "" && !slices.Contains(names, s.Client) {
			names = append(names, s.Client)
		}
	}
	return names
}

// parseTime parses seconds since 1970 with six decimals. A float64 has no room for the microseconds.
func parseTime(s string) (time.Duration, error) {
	whole, micros, _ := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(micros) != 6 {
		return 0, fmt.Errorf("%q is no time in seconds with six decimals", s)
	}
	us, err := strconv.ParseInt(micros, 10, 64)
	return time.Duration(sec)*time.Second + time.Duration(us)*time.Microsecond, err
}

func formatTime(d time.Duration) string {
	return fmt.Sprintf("%d.%06d", d/time.Second, d%time.Second/time.Microsecond)
}
