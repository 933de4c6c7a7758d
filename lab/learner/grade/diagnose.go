package grade

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// greetTime is how long the first answers are waited for. A server that takes longer on an idle
// machine hangs.
const greetTime = 4 * time.Second

const host = " HTTP/1.1\r\nHost: localhost\r\n\r\n"

// greetings are what every program is asked first.
var greetings = []string{
	"GET /healthz" + host,
	"GET /plain.txt" + host,
	"GET /there-is-no-such-file" + host,
	"nonsense\r\n\r\n",
}

// diagnose says what is wrong with a program as a whole, and whether it is of any use to go on. Who asks for single
// cases gets them from a program that answers at all.
func diagnose(g *suite.Greeting, single bool) (findings []string, hopeless bool) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	switch {
	case g.Err != nil && strings.Contains(g.Err.Error(), "exits at start"):
		say("It never started: %v\nRun this command yourself. A server stays in the foreground until it is told to stop.", g.Err)
		return findings, true
	case g.Err != nil && strings.Contains(g.Err.Error(), "nobody listens"):
		say("It never listens: %v\nThe program runs, but 10 s after its start no TCP socket listens on the port that -p gave it.", g.Err)
		return findings, true
	case g.Err != nil:
		say("It cannot be started: %v", g.Err)
		return findings, true
	case !g.Answered() && g.Crash != "":
		say("It crashed at its first client, and ended with %s\nIt was sent %q.", g.Crash, g.Requests[len(g.Answers)-1])
		return findings, true
	case !g.Answered() && !strings.Contains(g.Errs[0].Error(), "timeout"):
		say("It answers nothing: it accepts connections, and closes each of %d without a byte (%v).\nThe first request was %q.",
			len(g.Errs), g.Errs[0], g.Requests[0])
		return findings, true
	case !g.Answered():
		say("It hangs: it accepts connections, and %d requests got not one byte of an answer (%v).\nThe first of them was %q.",
			len(g.Errs), g.Errs[0], g.Requests[0])
		return findings, true
	}
	if g.Crash != "" {
		say("It crashed at %q, and ended with %s", g.Requests[len(g.Answers)-1], g.Crash)
	}
	if status := alike(g.Answers); status != 0 {
		say("It answers %d to everything: to GET /healthz, to files that are there and that are not, and to a line that is no HTTP.\n"+
			"It does not look at what it is sent; so no answer of it counts. (-t CASE plays a case nevertheless.)", status)
		return findings, !single
	}
	if h := g.Answers[0]; h != nil && h.Status != 200 {
		say("GET /healthz is answered with %d, want 200 with the body \"ok\". The suite uses it as the smallest request there is:\n"+
			"many cases below fail for that alone. Write it first; it takes a minute.", h.Status)
	}
	for i, err := range g.Errs[:min(len(g.Errs), len(greetings)-1)] { // what is no HTTP may have any answer
		if err != nil && g.Answers[i] != nil || err != nil && strings.Contains(err.Error(), "response: ") {
			say("An answer is not as docs/spec.md has it, which costs every case with an answer like that: to %q, %v", g.Requests[i], err)
			break
		}
	}
	return findings, false
}

// alike is the status of all answers, 0 if they differ. What is no response at all differs.
func alike(answers []*wire.Response) int {
	status := 0
	for _, a := range answers {
		if a == nil || status != 0 && a.Status != status {
			return 0
		}
		status = a.Status
	}
	if len(answers) < len(greetings) {
		return 0
	}
	return status
}

// errFailed makes the exit status 1.
var errFailed = errors.New("not all points")
