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

// page is a tab that shows the start page, with cookies of its own. Its methods are what
// a reader does there; each ends the test if the page does not follow.
type page struct {
	t    *testing.T
	ctx  context.Context
	base string // http://127.0.0.1:port

	mu      sync.Mutex
	wrong   []string           // what no page should do, in its order
	refused map[string]bool    // the paths that are rightly refused, which the console tells of
	answers []network.Response // in their order
}

// open opens a tab. What happens in it is recorded from its first request on.
func open(t *testing.T, ctx context.Context, base string) *page {
	p := &page{t: t, base: base, refused: make(map[string]bool)}
	ctx, cancel := chromedp.NewContext(ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.record))
	t.Cleanup(cancel)
	p.ctx = ctx
	// The first call opens the tab, which lives as long as that call's context.
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal("no tab:", err)
	}
	return p
}

// record is called for each event in the tab.
func (p *page) record(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	bad := func(format string, args ...any) { p.wrong = append(p.wrong, fmt.Sprintf(format, args...)) }
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if at := e.Request.URL; !strings.HasPrefix(at, p.base+"/") && !strings.HasPrefix(at, "data:") {
			bad("a request that leaves the server: %s", at)
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
				at == "/favicon.ico") { // browsers ask for that when a page names no icon, as a 403 does not
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

// complaints fails the test for everything wrong that was recorded.
func (p *page) complaints() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, what := range p.wrong {
		p.t.Error(what)
	}
}

// refuses says that the next answer for path is to be 403.
func (p *page) refuses(path string, yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refused[path] = yes
}

// do takes steps one after another, each in bounded time.
func (p *page) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	for i, step := range steps {
		ctx, cancel := context.WithTimeout(p.ctx, patience)
		err := chromedp.Do(ctx, step)
		cancel()
		if err != nil {
			p.complaints()
			p.t.Fatalf("%s, step %d: %v; the page says:\n%s", what, i+1, err, p.text())
		}
	}
}

// text is what the page shows, as far as that can still be told.
func (p *page) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, patience/5)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body.innerText"))
	if err != nil {
		return err.Error()
	}
	return text
}

// until waits until an expression is true on the page.
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

// visible waits until what a selector finds can be seen, gone until it cannot.
func visible(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitVisible(chromedp.CSS(selector))
}

func gone(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.WaitNotVisible(chromedp.CSS(selector))
}

func click(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Click(chromedp.CSS(selector))
}

func enter(selector, text string) chromedp.Action[chromedp.Void] {
	return chromedp.SendKeys(chromedp.CSS(selector), text)
}

// says waits until a text is in what a selector finds.
func says(selector, text string) chromedp.Action[chromedp.Void] {
	return until(fmt.Sprintf("document.querySelector(%q).innerText.includes(%q)", selector, text))
}

// visit opens an address and tells how it was answered.
func (p *page) visit(path string) (status int64) {
	p.t.Helper()
	return p.answered("open "+path, chromedp.NavigateResponse(p.base+path))
}

// follow clicks on a link and tells how the address that it leads to was answered.
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
		p.complaints()
		p.t.Fatalf("%s: %v", what, err)
	}
	return answer.Status
}
