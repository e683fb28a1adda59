// What bench/queue.py puts on BullMQ, and its worker, which does nothing. The words and the output are those of `load`.

import { Queue, QueueEvents, Worker } from 'bullmq';

const connection = { host: '127.0.0.1', port: Number(process.env.REDIS_PORT), maxRetriesPerRequest: null };
const [what, ...numbers] = process.argv.slice(2);
const [first, second] = numbers.map(Number);
const now = () => Number(process.hrtime.bigint());

function quantiles(nanoseconds) {
  const ordered = Float64Array.from(nanoseconds).sort();
  const at = (hundredths) => {
    const index = Math.min(ordered.length - 1, Math.floor((ordered.length * hundredths) / 100));
    return Math.round(ordered[index] / 1e3) / 1e3;
  };
  return { p50: at(50), p99: at(99), max: at(100) };
}

// Requests in flight, all over the queue's one connection, as is its habit.
async function enqueue(queue, clients, seconds) {
  const times = [];
  const started = now();
  const until = started + seconds * 1e9;
  const client = async (number) => {
    for (let before = now(); before < until; before = now()) {
      await queue.add('job', { client: number, n: times.length });
      times.push(now() - before);
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => client(number)));
  const perSecond = Math.round(times.length / ((now() - started) / 1e9));
  return { operations: times.length, warmUp: 0, perSecond, millis: quantiles(times) };
}

async function bulk(queue, jobs) {
  const started = now();
  for (let begin = 0; begin < jobs; begin += 1000) {
    const some = Array.from({ length: Math.min(1000, jobs - begin) }, (_, n) => ({ name: 'job', data: { client: 0, n } }));
    await queue.addBulk(some);
  }
  return { operations: jobs, perSecond: Math.round(jobs / ((now() - started) / 1e9)) };
}

async function idle(queue, rounds) {
  const events = new QueueEvents('bench', { connection });
  await events.waitUntilReady();
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    await new Promise((done) => setTimeout(done, 10 + Math.random() * 10));
    const job = await queue.add('job', { sent: now() });
    times.push(await job.waitUntilFinished(events));
  }
  await events.close();
  return quantiles(times);
}

if (what === 'worker') {
  // How long it took to get here, where its client noted when it left.
  new Worker('bench', async (job) => (job.data.sent ? now() - job.data.sent : null), { connection, concurrency: 64 });
} else {
  const queue = new Queue('bench', { connection });
  await queue.waitUntilReady();
  const found = { enqueue: () => enqueue(queue, first, second), bulk: () => bulk(queue, first),
    fill: () => bulk(queue, first), idle: () => idle(queue, first) };
  console.log(JSON.stringify(await found[what]()));
  await queue.close();
}
