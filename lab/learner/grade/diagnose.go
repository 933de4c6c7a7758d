package grade

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fourways.example/common/servertest/suite"
	"fourways.example/common/servertest/wire"
)

// greetTime is how long to wait for each of the first answers. These requests take milliseconds, so a server
// that needs 4 s hangs.
const greetTime = 4 * time.Second

const host = " HTTP/1.1\r\nHost: localhost\r\n\r\n"

// greetings are the requests that every program gets first.
var greetings = []string{
	"GET /healthz" + host,
	"GET /plain.txt" + host,
	"GET /there-is-no-such-file" + host,
	"nonsense\r\n\r\n",
}

// diagnose describes what is wrong with the program as a whole. hopeless is true if further tests are of no
// use. If the user asked for single cases, they are of use for any program that answers.
func diagnose(g *suite.Greeting, single bool) (findings []string, hopeless bool) {
	say := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	switch {
	case g.Err != nil && strings.Contains(g.Err.Error(), "exits at start"):
		say("It never started: %v\nRun this command yourself. A server must stay in the foreground until a signal stops it.", g.Err)
		return findings, true
	case g.Err != nil && strings.Contains(g.Err.Error(), "nobody listens"):
		say("It never listens: %v\nThe program runs, but 10 s after its start no TCP socket is listening on the port that -p gave it.", g.Err)
		return findings, true
	case g.Err != nil:
		say("It cannot be started: %v", g.Err)
		return findings, true
	case !g.Answered() && g.Crash != "":
		say("It crashed at its first client, and ended with %s\nThe request was %q.", g.Crash, g.Requests[len(g.Answers)-1])
		return findings, true
	case !g.Answered() && !strings.Contains(g.Errs[0].Error(), "timeout"):
		say("It answers nothing: it accepts connections, and closed all %d without sending a byte (%v).\nThe first request was %q.",
			len(g.Errs), g.Errs[0], g.Requests[0])
		return findings, true
	case !g.Answered():
		say("It hangs: it accepts connections, but none of %d requests got a complete answer (%v).\nThe first request was %q.",
			len(g.Errs), g.Errs[0], g.Requests[0])
		return findings, true
	}
	if g.Crash != "" {
		say("It crashed at %q, and ended with %s", g.Requests[len(g.Answers)-1], g.Crash)
	}
	if status := commonStatus(g.Answers); status != 0 {
		say("It answers %d to everything: to GET /healthz, to a file, to a missing file, and to a line that is not HTTP.\n"+
			"It does not read its requests, so no answer counts. (-t CASE runs a case nevertheless.)", status)
		return findings, !single
	}
	if h := g.Answers[0]; h != nil && h.Status != 200 {
		say("GET /healthz is answered with %d; want 200 and the body \"ok\". Many cases use this request to see whether\n"+
			"the server works, and fail for this reason alone. Implement it first.", h.Status)
	}
	for i, err := range g.Errs[:min(len(g.Errs), len(greetings)-1)] { // the last greeting is not HTTP: any answer will do
		if err != nil && g.Answers[i] != nil || err != nil && strings.Contains(err.Error(), "response: ") {
			say("An answer breaks a rule of docs/spec.md. The cases about this rule fail. The request was %q; %v", g.Requests[i], err)
			break
		}
	}
	return findings, false
}

// commonStatus returns the status that all answers have, or 0 if they differ or one is missing.
func commonStatus(answers []*wire.Response) int {
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
var errFailed = errors.New("the server does not pass")
