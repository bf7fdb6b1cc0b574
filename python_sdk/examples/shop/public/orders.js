// The board of orders. No build step: Alpine calls what is below.
"use strict";

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });
const SHOWN = 12;
const PATIENCE_MS = 15_000; // The longest wait before it tries again.

document.addEventListener("alpine:init", () => {
  Alpine.data("orders", () => ({
    orders: [], live: false, tries: 0,

    init() {
      this.connect();
      addEventListener("pagehide", () => { this.leaving = true; this.socket.close(); });
    },

    connect() {
      this.socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/api/orders/live?last=8`);
      this.socket.onopen = () => { this.live = true; this.tries = 0; };
      this.socket.onmessage = ({ data }) => this.add(JSON.parse(data));
      this.socket.onclose = () => {
        this.live = false;
        if (!this.leaving) setTimeout(() => this.connect(), Math.min(500 * 2 ** this.tries++, PATIENCE_MS));
      };
    },

    // First a list of the last orders, then each new one. After a reconnection some of the list are here already.
    add(told) {
      const known = new Set(this.orders.map(({ number }) => number));
      const orders = Array.isArray(told) ? told : [{ ...told, fresh: true }];
      for (const order of orders.filter(({ number }) => !known.has(number))) this.orders.unshift(order);
      this.orders = this.orders.slice(0, SHOWN);
    },

    money: (cents) => euros.format(cents / 100),
    time: (iso) => new Date(iso).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
  }));
});
