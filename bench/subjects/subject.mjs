/**
 * What a subject of the benchmark is: something that carries frames between two interfaces. Types only.
 *
 * `start` makes the interfaces `weft-a` and `weft-b` on the testbed's host (or one on each of its two), hands them to the
 * guests with `testbed.attach`, and resolves when frames may flow. `offload` says whether TCP may cross as super-frames.
 *
 * @typedef {{
 *   pids: number[],                      // processes whose CPU time is the switch's; empty: it is the kernel itself
 *   facts?: Record<string, unknown>,     // worth keeping beside the figures: engine in use, versions
 *   router?: Router,                     // where guests reach each other through one that translates
 *   stop(): Promise<void>,
 * }} Running
 *
 * @typedef {{
 *   macs: { a: string, b: string },      // of its interface at each guest
 *   outside: string,                     // the address that guest b sees guest a's packets from
 *   guests: { a: string, b: string },    // where it sends what is for them
 * }} Router
 *
 * @typedef {{
 *   name: string,
 *   title: string,                       // as the plot shows it
 *   optional?: boolean,                  // measured only when asked for by --only
 *   against?: string | null,             // which of ours its figures are set against; weft when absent, null: none
 *   absence(): string | null,            // why it can't be measured on this machine
 *   start(testbed: import('../testbed.mjs').Testbed, how: { offload: boolean }): Promise<Running>,
 * }} Subject
 */
export {};
