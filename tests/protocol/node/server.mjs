// A server made with the TypeScript SDK, of both eras: `serveStdio` pins it by its opening request.
import { McpServer, acceptedContent, inputRequired } from '@modelcontextprotocol/server';
import { serveStdio } from '@modelcontextprotocol/server/stdio';
import { z } from 'zod';

const text = said => ({ content: [{ type: 'text', text: String(said) }] });
let waiting = [];
let cancelled = 0;

serveStdio(() => {
  const server = new McpServer({ name: 'node', version: '1' }, { capabilities: { tools: { listChanged: true } } });
  const tool = (name, shape, run) => server.registerTool(name, { inputSchema: z.object(shape) }, run);
  tool('echo', { text: z.string() }, given => text(given.text));
  tool('pid', {}, () => text(process.pid));
  tool('state', {}, () => text(JSON.stringify({ waiting: waiting.length, cancelled })));
  tool('progress', { steps: z.number(), who: z.string() }, async ({ steps, who }, ctx) => {
    const progressToken = ctx.mcpReq._meta.progressToken;
    for (let progress = 1; progress <= steps; progress++)
      await ctx.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, message: who } });
    // the TypeScript client forgets reports that it reads together with their answer, from a server directly too
    await new Promise(resolve => setTimeout(resolve, 300));
    return text('done');
  });
  tool('wait', {}, (_given, ctx) => new Promise(resolve => {
    const entry = () => resolve(text('went on'));
    waiting.push(entry);
    ctx.mcpReq.signal.addEventListener('abort', () => {
      cancelled++;
      waiting = waiting.filter(other => other !== entry);
      entry();
    });
  }));
  tool('release', {}, () => { for (const go of waiting.splice(0)) go(); return text('released'); });
  tool('change', {}, () => { server.sendToolListChanged(); return text('changed'); });
  tool('elicit', { text: z.string() }, (given, ctx) => {
    const shape = z.object({ name: z.string() });
    const answer = acceptedContent(ctx.mcpReq.inputResponses, 'q', shape);
    if (answer) return text(answer.name);
    const requestedSchema = { type: 'object', properties: { name: { type: 'string' } } };
    return inputRequired({ inputRequests: { q: inputRequired.elicit({ message: given.text, requestedSchema }) } });
  });
  return server;
});
