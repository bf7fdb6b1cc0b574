// The shop's page. No build step: Alpine calls what is below.
"use strict";

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

// Who answered, as far as the response headers tell.
function answeredBy(response) {
  const cache = response.headers.get("cache-status");
  if (cache?.includes("hit")) return "from the sidecar's cache";
  if (cache) return "by Python, now kept by the sidecar";
  return response.headers.get("etag") ? "from the sidecar's file cache" : "by Python";
}

// FastAPI names the place of each mistake; we say in the shop's words what belongs there.
function explain(problem, status, fields) {
  if (!Array.isArray(problem.detail)) return { order: problem.detail ?? `The shop answered ${status}.` };
  return Object.fromEntries(problem.detail.map(({ loc, msg }) => {
    const field = fields.find(({ name }) => name === loc[1]);
    return field ? [field.name, field.hint] : ["order", msg];
  }));
}

document.addEventListener("alpine:init", () => {
  Alpine.data("shop", () => ({
    products: [], loading: true, category: "", q: "", sort: "featured",
    basket: JSON.parse(localStorage.getItem("basket") ?? "[]"),
    buyer: { customer: "", email: "", address: "" }, errors: {}, order: null, ordering: false,
    live: false, news: "Opening the shutters…", clock: "", report: null,
    fields: [
      { name: "customer", label: "Name", auto: "name", hint: "Who shall we roar for?" },
      { name: "email", label: "Email", auto: "email", hint: "An address like name@example.org, please." },
      { name: "address", label: "Harbour or street", auto: "street-address",
        hint: "Where shall the ship put in?" },
    ],
    lanes: [
      { name: "static", title: "A file", url: "/img/hero.svg", ms: null, by: "", busy: false,
        story: "Served from the sidecar's memory. Python is not running for this." },
      { name: "dynamic", title: "A query", url: "/api/products", ms: null, by: "", busy: false,
        story: "Handed over a Unix socket to a worker, which asks SQLite." },
      { name: "cached", title: "The report", url: "/api/report", ms: null, by: "", busy: false,
        story: "The accountant needs most of a second. Once. Then the sidecar remembers." },
    ],

    init() {
      this.load();
      this.listen();
      this.$watch("basket", (lines) => localStorage.setItem("basket", JSON.stringify(lines)));
    },

    // The shelves...

    async load() {
      const query = new URLSearchParams({ sort: this.sort });
      if (this.category) query.set("category", this.category);
      if (this.q.trim()) query.set("q", this.q.trim());
      this.loading = true;
      const asked = (this.asked = query.toString());
      const page = await (await fetch(`/api/products?${asked}`)).json();
      if (asked !== this.asked) return; // A newer question is on its way.
      this.products = page.items;
      this.loading = false;
    },

    // The basket...

    get count() { return this.basket.reduce((sum, line) => sum + line.quantity, 0); },
    get total() { return this.basket.reduce((sum, line) => sum + line.quantity * line.price_cents, 0); },

    add({ slug, name, image, price_cents }) {
      this.order = null;
      const line = this.basket.find((line) => line.slug === slug);
      if (line) this.change(line, 1);
      else this.basket.push({ slug, name, image, price_cents, quantity: 1 });
    },

    change(line, by) {
      line.quantity = Math.min(20, line.quantity + by);
      this.basket = this.basket.filter((line) => line.quantity > 0);
    },

    async checkout() {
      this.ordering = true;
      this.errors = {};
      try {
        const response = await fetch("/api/orders", {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({
            ...this.buyer, lines: this.basket.map(({ slug, quantity }) => ({ slug, quantity })),
          }),
        });
        const answer = await response.json();
        if (!response.ok) { this.errors = explain(answer, response.status, this.fields); return; }
        this.order = answer;
        this.basket = [];
        this.load();
      } catch {
        this.errors = { order: "The shop cannot be reached. Your basket is kept; please try again." };
      } finally {
        this.ordering = false;
      }
    },

    // The ticker...

    listen() {
      const source = new EventSource("/api/ticker");
      source.onopen = () => { this.live = true; };
      source.onerror = () => { this.live = false; this.news = "The line to the shop is down. Trying again."; };
      source.addEventListener("tick", (event) => {
        const { at, orders } = JSON.parse(event.data);
        this.clock = this.time(at);
        if (!this.newsworthy) this.news = `${orders} orders since the shop opened`;
      });
      source.addEventListener("order", (event) => {
        const { number, item, total_cents } = JSON.parse(event.data);
        this.news = `Order no. ${number}: ${item}, ${this.money(total_cents)}. Somebody is hungry.`;
        clearTimeout(this.newsworthy);
        this.newsworthy = setTimeout(() => { this.newsworthy = 0; }, 6000);
      });
      addEventListener("pagehide", () => source.close());
    },

    // Behind the counter...

    async ask(lane) {
      lane.busy = true;
      const start = performance.now();
      const response = await fetch(lane.url, { cache: "no-store", headers: { accept: "*/*" } });
      const body = await response.text();
      lane.ms = performance.now() - start;
      lane.by = answeredBy(response);
      if (lane.name === "cached" && response.ok) this.report = JSON.parse(body);
      lane.busy = false;
    },

    money: (cents) => euros.format(cents / 100),
    time: (iso) => (iso ? new Date(iso).toLocaleTimeString("en-GB") : ""),
  }));
});
