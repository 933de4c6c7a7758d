package browser

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A page is a tab with cookies of its own. Its methods do what a user does there, and end the test if the page does not
// react as expected.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string // http://127.0.0.1:port

	mu      sync.Mutex
	wrong   []string           // unwanted requests, errors and console messages, in order
	refused map[string]bool    // paths for which the test expects a 403; the console reports these too
	answers []network.Response // in order
}

// open opens a tab, and records its events from the first request on.
func open(t *testing.T, ctx context.Context, base string) *page {
	p := &page{t: t, base: base, refused: make(map[string]bool)}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.record))
	t.Cleanup(cancel)
	p.ctx = ctx
	// The first call opens the tab, which stays open until the context of this call ends.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("cannot open a tab:", err)
	}
	return p
}

// record handles each event in the tab.
func (p *page) record(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bad := func(format string, args ...any) { p.wrong = append(p.wrong, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if at := e.Request.URL; !strings.HasPrefix(at, p.base+"/") && !strings.HasPrefix(at, "data:") {
			bad("a request to another server: %s", at)
		}
	case *network.EventWebSocketCreated:
		bad("a WebSocket to %s", e.URL)
	case *network.EventResponseReceived:
		p.answers = append(p.answers, *e.Response)
	case *runtime.EventExceptionThrown:
		details := e.ExceptionDetails
		text := details.Text
		if details.Exception != nil {
			text += " " + details.Exception.Description
		}
		bad("line %d of %s: %s", details.LineNumber+1, details.URL, text)
	case *runtime.EventConsoleAPICalled:
		for _, arg := range e.Args {
			bad("console.%s: %s %s", e.Type, arg.Value, arg.Description)
		}
	case *log.EventEntryAdded:
		if at := path(e.Entry.URL); e.Entry.Source == log.EntrySourceNetwork &&
			(p.refused[at] && strings.Contains(e.Entry.Text, " 403 ") ||
				at == "/favicon.ico") { // a browser requests it for a page without an icon, such as the 403
			return
		}
		bad("%s from %s: %s %s", e.Entry.Level, e.Entry.Source, e.Entry.Text, e.Entry.URL)
	}
}

func path(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Path
}

// reportErrors fails the test with all recorded errors.
func (p *page) reportErrors() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, what := range p.wrong {
		p.t.Error(what)
	}
}

// expect403 sets whether the test expects a 403 for path.
func (p *page) expect403(path string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[path] = yes
}

// do runs the steps one after another. Each must finish within patience.
func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		err := chromedp.Do(ctx, step)
		cancel()
		if err != nil {
			p.reportErrors()
			p.t.Fatalf("%s, step %d: %v; the text of the page is:\n%s", what, i+1, err, p.text())
		}
	}
}

// text returns the text of the page, or the error if the page does not answer.
func (p *page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, patience/5)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// until waits until a JavaScript expression is true on the page.
func until(expression string) chromedp.Action[chromedp.Void] {
	poll := chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(pollEvery), chromedp.WithPollingTimeout(0))
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := poll(ctx, t)
		if err != nil {
			err = fmt.Errorf("waiting for %s: %w", expression, err)
		}
		return chromedp.Void{}, err
	}
}

// visible waits until the element of a selector is visible.
func visible(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

// gone waits until the element of a selector is not visible.
func gone(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitNotVisible(chromedp.CSS(selector))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func enter(selector, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(selector), text)
}

// says waits until the element of a selector contains a text.
func says(selector, text string) chromedp.Action[chromedp.Void] {
	return until(fmt.Sprintf("document.querySelector(%q).innerText.includes(%q)", selector, text))
}

// visit opens a path and returns the status of the response.
func (p *page) visit(path string) (status int64) {
	p.t.Helper()
	return p.answered("open "+path, chromedp.NavigateResponse(p.base+path))
}

// follow clicks on a link and returns the status of the response.
func (p *page) follow(href string) (status int64) {
	p.t.Helper()
	link := click(fmt.Sprintf("a[href=%q]", href))
	return p.answered("follow "+href, func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, link)
	})
}

func (p *page) answered(what string, step chromedp.Action[*network.Response]) (status int64) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	answer, err := chromedp.Run(ctx, step)
	if err != nil {
		p.reportErrors()
		p.t.Fatalf("%s: %v", what, err)
	}
	return answer.Status
}
