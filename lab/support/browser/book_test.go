package browser

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"fourways.example/lab/support/slow"
)

// bookPages is the folder with the pages of the book.
const bookPages = "../../../docs/site/book"

// TestSlowBook reads every page of the book from stage 4, on a large screen and on a small one, in light and in dark
// colours. No page may scroll sideways, write to the console, or make a request that fails. It also searches, turns
// pages with the keyboard, and steps through a picture.
func TestSlowBook(t *testing.T) {
	slow.Test(t)
	chromium := findChromium(t)
	names, err := filepath.Glob(bookPages + "/*.html")
	if err != nil || len(names) < 20 {
		t.Fatalf("%d pages in %s: %v; run make book", len(names), bookPages, err)
	}
	server := serve(t, build(t, 4), "../../../docs/site", "-s")
	ctx := startChromium(t, t.Context(), chromium)
	for _, row := range []struct {
		width  int64
		scheme string
	}{{1280, "light"}, {1280, "dark"}, {360, "light"}, {360, "dark"}} {
		t.Run(fmt.Sprintf("%d-%s", row.width, row.scheme), func(t *testing.T) {
			p := open(t, ctx, "http://"+server.Addr())
			p.do("size and colours", chromedp.EmulateViewport(row.width, 800), scheme(row.scheme))
			for _, name := range names {
				p.bookPage("/book/" + filepath.Base(name))
			}
			p.searchBook()
			p.turnPages()
			p.stepThrough()
			p.reportErrors()
			p.allAnswered()
		})
	}
}

// bookPage opens a page and loads the pictures, which a browser does only when they come into view.
func (p *page) bookPage(at string) {
	p.t.Helper()
	p.visit(at)
	p.do(at,
		until(`document.readyState === "complete" && !document.getElementById("search").hidden`),
		chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("img").forEach((i) => { i.loading = "eager"; })`),
		until(`[...document.images].every((i) => i.complete && i.naturalWidth > 0)`),
	)
	wide, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`
		document.documentElement.scrollWidth <= innerWidth ? "" :
		[...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
			&& !e.closest("pre, .scroll")).map((e) => e.outerHTML.slice(0, 80)).slice(0, 3).join(" and ") || "the page"`))
	if err != nil {
		p.t.Fatal(err)
	}
	if wide != "" {
		p.t.Errorf("%s scrolls sideways because of %s", at, wide)
	}
}

// searchBook types words and follows the first result.
func (p *page) searchBook() {
	p.t.Helper()
	p.visit("/book/index.html")
	p.do("search",
		until(`!document.getElementById("search").hidden`),
		chromedp.SendKeys(chromedp.CSS("#search input"), "lost wake-up"),
		until(`document.querySelector("#results li a")?.textContent.length > 0`),
	)
	p.leave("follow a result", click("#results li a"))
	p.do("search", until(`document.body.textContent.includes("lost wake-up")`))
}

// leave does something that opens another page, and waits for that page.
func (p *page) leave(what string, step chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	p.answered(what, func(ctx context.Context, _ *chromedp.Target) (*network.Response, error) {
		return chromedp.RunResponse(ctx, step)
	})
}

// turnPages turns one page forward and one back with the arrow keys, and jumps to the text with the first tab stop.
func (p *page) turnPages() {
	p.t.Helper()
	p.visit("/book/0-one-request.html")
	for _, turn := range []struct{ key, to string }{{kb.ArrowRight, "/book/1-short-reads.html"}, {kb.ArrowLeft, "/book/0-one-request.html"}} {
		p.do("keyboard", until(`!document.getElementById("search").hidden`))
		p.leave("turn the page", chromedp.KeyEvent(turn.key))
		p.do("turn the page", until(fmt.Sprintf(`location.pathname === %q`, turn.to)))
	}
	p.do("keyboard",
		until(`!document.getElementById("search").hidden`),
		chromedp.KeyEvent("/"),
		until(`document.activeElement.name === "q"`),
		until(`document.querySelector("body > a").className === "skip" && document.querySelector("body > a").hash === "#main"`),
	)
}

// stepThrough goes through each picture in steps. Without a click all steps are shown. After one, the end of the step is in
// view, also on a screen on which the picture scrolls.
func (p *page) stepThrough() {
	p.t.Helper()
	for _, picture := range []struct {
		page  string
		steps int
	}{{"1-short-reads", 8}, {"2-threads", 7}, {"4-ten-thousand-clients", 11}} {
		p.visit("/book/" + picture.page + ".html")
		shown := func(n int) string {
			return fmt.Sprintf(`[...document.querySelectorAll(".steps [data-step]")].filter((s) => getComputedStyle(s).visibility === "visible").length === %d`, n)
		}
		next := chromedp.Evaluate[chromedp.Void](`document.querySelectorAll(".stepper button")[1].click()`)
		p.do("steps of "+picture.page,
			until(`document.querySelector(".stepper") !== null`),
			until(shown(picture.steps)),
		)
		for n := 1; n <= picture.steps; n++ {
			p.do(fmt.Sprintf("step %d of %s", n, picture.page), next, until(shown(n)), until(fmt.Sprintf(`(() => {
				const box = document.querySelector(".steps").getBoundingClientRect();
				const part = document.querySelector(".steps [data-step='%d']").getBoundingClientRect();
				return part.right <= box.right && (part.left >= box.left || part.width > box.width);
			})()`, n)))
		}
	}
}

// allAnswered fails the test for each request that was not answered with the content.
func (p *page) allAnswered() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		if a.Status != 200 && a.Status != 206 && a.Status != 304 {
			p.t.Errorf("%d for %s", a.Status, a.URL)
		}
	}
	if len(p.answers) < 50 {
		p.t.Errorf("only %d answers were seen", len(p.answers))
	}
}
