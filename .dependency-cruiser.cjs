// The import direction of the code: only leftwards in this list. Kinds are named only in their registry.
const layers = [
  'limits|errors',
  'kernels',
  'wire',
  'dataplane',
  'tunnels',
  'pipeline',
  'control',
  'daemon|demo|worker|weft',
];
const place = (names) => `^src/(${names})(/|\\.ts$)`;
module.exports = {
  forbidden: [
    ...layers.map((layer, index) => ({
      name: `${layer}-imports-only-leftwards`,
      severity: 'error',
      from: { path: place(layer) },
      to: {
        path:
          layers
            .slice(index + 1)
            .map(place)
            .join('|') || '^$',
      },
    })),
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'only-what-exists', severity: 'error', from: {}, to: { couldNotResolve: true } },
    {
      name: 'no-development-packages',
      severity: 'error',
      from: {},
      to: { dependencyTypes: ['npm-dev', 'npm-unknown', 'npm-no-pkg'] },
    },
    {
      name: 'port-kinds-only-in-their-registry',
      severity: 'error',
      from: { pathNot: '^src/dataplane/ports/' },
      to: { path: '^src/dataplane/ports/', pathNot: '^src/dataplane/ports/(registry|memory)\\.ts$' },
    },
    {
      name: 'tunnel-kinds-only-in-their-registry',
      severity: 'error',
      from: { pathNot: '^src/tunnels/' },
      to: { path: '^src/tunnels/', pathNot: '^src/tunnels/(registry|tunnel)\\.ts$' },
    },
    {
      name: 'commands-only-in-their-registry',
      severity: 'error',
      from: { pathNot: '^src/control/commands/' },
      to: { path: '^src/control/commands/', pathNot: '^src/control/commands/registry\\.ts$' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    exclude: { path: '\\.as\\.ts$' },
  },
};
