// Two sessions of a TypeScript client talk to one server at once; what they saw is printed as JSON.
// conversation.mjs VERSION MODE COMMAND ARG…: VERSION of the SDK, 1 or 2; MODE legacy, auto or modern.
const [version, mode, command, ...args] = process.argv.slice(2);
const load = async () => version === '1'
  ? [await import('@modelcontextprotocol/sdk/client/index.js'), await import('@modelcontextprotocol/sdk/client/stdio.js'),
     await import('@modelcontextprotocol/sdk/types.js')]
  : [await import('@modelcontextprotocol/client'), await import('@modelcontextprotocol/client/stdio'), null];
const [{ Client }, { StdioClientTransport }, types] = await load();

class Session {
  constructor(name) { this.name = name; this.changes = 0; this.asked = 0; }
  async connect() {
    const versionNegotiation = { mode: mode === 'modern' ? { pin: '2026-07-28' } : mode };
    const listChanged = { tools: { onChanged: () => { this.changes++; }, autoRefresh: false, debounceMs: 0 } };
    this.client = new Client({ name: 'node', version: '1' },
      { capabilities: { elicitation: {} }, listChanged, ...(version === '2' ? { versionNegotiation } : {}) });
    const answer = request => {
      this.asked++;
      return { action: 'accept', content: { name: `${this.name}: ${request.params.message}` } };
    };
    this.client.setRequestHandler(version === '1' ? types.ElicitRequestSchema : 'elicitation/create', answer);
    await this.client.connect(new StdioClientTransport({ command, args, env: process.env }));
  }
  async call(name, given = {}, options = {}) {
    const params = { name, arguments: given };
    const result = version === '1' ? await this.client.callTool(params, undefined, options)
                                   : await this.client.callTool(params, options);
    return result.content[0].text;
  }
}

const until = async look => { while (!(await look())) await new Promise(resolve => setTimeout(resolve, 10)); };
const waiting = async (session, n) => until(async () => JSON.parse(await session.call('state')).waiting === n);
const [a, b] = [new Session('a'), new Session('b')];
for (const session of [a, b]) await session.connect();
const said = { pids: [await a.call('pid'), await b.call('pid')] };
said.tools = (await a.client.listTools()).tools.map(tool => tool.name);
const calls = [];
for (let n = 0; n < 20; n++) for (const session of [a, b]) calls.push(session.call('echo', { text: session.name + n }));
said.echoes = await Promise.all(calls);
said.progress = await Promise.all([[a, 30], [b, 50]].map(async ([session, steps]) => {
  const heard = [];
  const onprogress = ({ progress, message }) => heard.push([progress, message]);
  await session.call('progress', { steps, who: session.name }, { onprogress });
  return heard;
}));
said.elicit = [await a.call('elicit', { text: '?' }), await b.call('elicit', { text: '!' })];
said.asked = [a.asked, b.asked];
await a.call('change');
await until(() => a.changes && b.changes);
const other = b.call('wait');
await waiting(b, 1);
const abort = new AbortController();
const mine = a.call('wait', {}, { signal: abort.signal }).catch(() => 'aborted');
await waiting(b, 2);
abort.abort();
said.mine = await mine;
await waiting(b, 1);
await b.call('release');
said.other = await other;
said.cancelled = JSON.parse(await b.call('state')).cancelled;
for (const session of [a, b]) await session.client.close();
console.log(JSON.stringify(said));
