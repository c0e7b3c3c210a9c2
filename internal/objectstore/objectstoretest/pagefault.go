package objectstoretest

import "slices"

// What follows are the faults of listings: actions for ListObjectsV2 and ListObjectVersions that answer with a page that
// is not what it should be. Stores do each of them.

// RepeatRows answers with the last n rows before the page once more, in front of it.
func RepeatRows(n int) Action {
	return Action{page: func(p *page) { p.items = append(p.before(n), p.items...) }}
}

// ReverseRows answers with the rows of the page in the opposite order. It goes on behind what should have been the last.
func ReverseRows() Action {
	return Action{page: func(p *page) { slices.Reverse(p.items) }}
}

// SwapRows answers with every second row of the page before the first of its pair: a and b come as b and a.
func SwapRows() Action {
	return Action{page: func(p *page) {
		for i := 1; i < len(p.items); i += 2 {
			p.items[i-1], p.items[i] = p.items[i], p.items[i-1]
		}
	}}
}

// ShortPage answers with no more than n rows of the page, at least one, and goes on behind them: what a store may always
// do.
func ShortPage(n int) Action {
	return Action{page: func(p *page) {
		if n = max(n, 1); n < len(p.items) {
			p.items, p.last, p.truncated = p.items[:n], p.items[n-1], true
			p.pointOn()
		}
	}}
}

// LoseRows answers without the last n rows of the page, but for the first, and goes on behind them.
func LoseRows(n int) Action {
	return Action{page: func(p *page) {
		if len(p.items) > 0 {
			p.items, p.truncated = p.items[:max(1, len(p.items)-n)], true
			p.pointOn()
		}
	}}
}

// EmptyPage answers without rows, with a token to go on from where the page should have begun; a listing of versions has
// no tokens, and does not advance then.
func EmptyPage() Action {
	return Action{page: func(p *page) {
		p.items, p.last, p.truncated = nil, p.first, true
		p.pointOn()
	}}
}

// EndEarly answers with the first n rows of the page, and says that they are the last of the listing.
func EndEarly(n int) Action {
	return Action{page: func(p *page) {
		p.items, p.truncated = p.items[:min(n, len(p.items))], false
		p.pointOn()
	}}
}

// EndLate says of any page, also of the last, that more follows.
func EndLate() Action {
	return Action{page: func(p *page) {
		p.truncated = true
		p.pointOn()
	}}
}

// NoToken says that more follows, and not where.
func NoToken() Action {
	return Action{page: func(p *page) { p.truncated, p.token, p.markers = true, "", false }}
}

// StuckPage answers without rows that more follows, and not where.
func StuckPage() Action {
	return Action{page: func(p *page) { p.items, p.truncated, p.token, p.markers = nil, true, "", false }}
}
