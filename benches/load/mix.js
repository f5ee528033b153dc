// What a working day sends, as k6 (https://k6.io) runs it: 70 % grid pages with varied filters, 10 % lean pages,
// 10 % KPIs, 5 % timelines, 4 % edits, 1 % commits. run.sh sets the environment.
import http from 'k6/http';
import { Counter } from 'k6/metrics';

const base = `http://127.0.0.1:${__ENV.PORT}/api/v1/orgs/${__ENV.ORG}`;
const clients = Number(__ENV.CLIENTS || 1000);
const duration = `${__ENV.SECONDS || 60}s`;
const rate = Number(__ENV.RATE || 0);

const shed = new Counter('shed');
const failed = new Counter('failed');
const committed = new Counter('committed');

// A closed loop asks again as soon as it has its answer; a rate asks whatever the answers do.
const loop = { executor: 'constant-vus', vus: clients, duration };
const fixed = { executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration, preAllocatedVUs: clients, maxVUs: clients };
export const options = {
  scenarios: { day: rate > 0 ? fixed : loop },
  discardResponseBodies: true,
  summaryTrendStats: ['med', 'p(95)', 'p(99)', 'max'],
  setupTimeout: '60s',
};

const categories = ['Lifting', 'Power', 'Access', 'Earthmoving', 'Welding'];
const pick = (list) => list[Math.floor(Math.random() * list.length)];

export function setup() {
  const page = http.get(`${base}/records?status=forecast&source=Rental&fields=pfaId&limit=5000`, { responseType: 'text' });
  return page.json('data').map((row) => row.pfaId);
}

let session = null;

export default function (pfaIds) {
  const headers = { 'X-User-Id': `planner${__VU}` };
  const draw = Math.random();
  if (draw < 0.7) {
    const year = 2023 + Math.floor(Math.random() * 4);
    const more = pick(['', '&source=Rental', '&source=Purchase', '&isActualized=false', '&sort=-monthlyRate', '&sort=class']);
    count(http.get(`${base}/records?category=${pick(categories)}&forecastStartFrom=${year}-01-01&limit=100${more}`, { headers }));
  } else if (draw < 0.8) {
    count(http.get(`${base}/records?overlaps=2025-01-01..2025-06-30&fields=pfaId,class,forecastStart,forecastEnd&limit=500`, { headers }));
  } else if (draw < 0.9) {
    count(http.get(`${base}/kpis?groupBy=${pick(['category', 'source', 'dor'])}`, { headers }));
  } else if (draw < 0.95) {
    count(http.get(`${base}/timeline`, { headers }));
  } else if (draw < 0.99) {
    edit(pfaIds, headers);
  } else {
    commit(pfaIds, headers);
  }
}

function edit(pfaIds, headers) {
  if (session === null) {
    const opened = http.post(`${base}/sessions`, null, { headers, responseType: 'text' });
    count(opened);
    if (opened.status !== 201) return;
    session = opened.json('id');
  }
  const patch = JSON.stringify({ monthlyRate: 1000 + Math.floor(Math.random() * 20000) });
  const json = { headers: { ...headers, 'Content-Type': 'application/json' } };
  count(http.patch(`${base}/sessions/${session}/records/${pick(pfaIds)}`, patch, json));
}

// Who has nothing to commit changes a record before.
function commit(pfaIds, headers) {
  if (session === null) edit(pfaIds, headers);
  if (session === null) return;
  const answer = http.post(`${base}/sessions/${session}/commit?mode=partial`, null, { headers });
  count(answer);
  if (answer.status === 200) {
    committed.add(1);
    session = null;
  }
}

// 409 is the answer to a commit that somebody else was faster than.
function count(answer) {
  if (answer.status === 503) shed.add(1);
  else if (answer.status === 0 || answer.status >= 500 || (answer.status >= 400 && answer.status !== 409)) {
    failed.add(1);
    if (Math.random() < 0.01) console.error(`${answer.request.method} ${answer.url}: ${answer.status} ${answer.error}`);
  }
}

export function handleSummary(data) {
  const of = (name) => (data.metrics[name] ? data.metrics[name].values : {});
  // Of those that were answered, not refused.
  const times = of('http_req_duration{expected_response:true}');
  const ms = (value) => `${Math.round(value)} ms`;
  const requests = of('http_reqs');
  const row = [
    rate > 0 ? `${rate}/s` : `closed loop, ${clients}`,
    `${Math.round(requests.rate)}/s`,
    ms(times.med), ms(times['p(95)']), ms(times['p(99)']), ms(times.max),
    of('committed').count || 0,
    of('shed').count || 0,
    of('failed').count || 0,
    of('dropped_iterations').count || 0,
  ];
  return { stdout: `\n| ${row.join(' | ')} |` };
}
