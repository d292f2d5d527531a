// The MQTT.js group: all its cases, in 3.1, 3.1.1 and 5.0.
'use strict';

const { runAll } = require('./cases');

require('./delivery');
require('./session');
require('./properties');

runAll();
